"""Real etcd with TLS, mutual TLS and users turned on, and the real daemon before it.

With the right certificate and password an agent pins, its token is asked for again when etcd has forgotten it, and a certificate that
is renewed in place is taken. With one thing wrong its log names that thing, and the daemon goes on serving.

usage: etcd_access.py
"""
import pathlib
import subprocess
import tempfile
import time
import urllib.request

import peers
from etcd import Cluster
from peers import Checks, wait_for

CONFIG = """
system: {{enabled: false}}
shipped_rules: false
switches: {{recs: {{feature: [full, cached, "off"]}}}}
store:
  etcd:
    endpoints: [{endpoints}]
    prefix: /fleet
    host: {host}
    lease: 5s
{more}
"""


class Authority:
    """Certificates, made by openssl."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", self.key(name), "-out", self.cert(name),
                 "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE")

    def cert(self, name):
        return str(self.folder / f"{name}.pem")

    def key(self, name):
        return str(self.folder / f"{name}.key")

    def run(self, *arguments):
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def issue(self, name, alternative="IP:127.0.0.1"):
        request, extra = str(self.folder / f"{name}.csr"), self.folder / f"{name}.ext"
        extra.write_text(f"subjectAltName={alternative}\nextendedKeyUsage=serverAuth,clientAuth\n")
        self.run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key(name), "-out", request, "-subj", f"/CN={name}")
        self.run("x509", "-req", "-in", request, "-CA", self.cert(self.name), "-CAkey", self.key(self.name), "-CAcreateserial", "-days", "1", "-out", self.cert(name), "-extfile", str(extra))


def agent(cluster, host, scheme="https", tls="", user=""):
    endpoints = ", ".join(f'"{scheme}://127.0.0.1:{member.client}"' for member in cluster.members)
    more = (f"    tls: {{{tls}}}\n" if tls else "") + user
    return peers.Agent(CONFIG.format(endpoints=endpoints, host=host, more=more))


def good(checks, what, agent):
    try:
        wait_for("the store", lambda: any(line.startswith("brownout_store_connected 1") for line in metrics(agent)), timeout=15, pause=0.1)
    except AssertionError:
        checks.check(what, False, agent.tail()[-1500:])
        return False
    answer = agent.post("/api/v1/switches/recs/pin", {"level": "off", "for": "1h", "reason": "test", "by": "test"})
    checks.check(what, answer.get("status") == "success", answer)
    return True


def metrics(agent):
    return urllib.request.urlopen(agent.url + "/metrics", timeout=5).read().decode().splitlines()


def bad(checks, what, agent, words):
    """What is wrong is named in the log, once, and applications are served all the same."""
    try:
        wait_for("a word about it", lambda: all(word in agent.tail() for word in words), timeout=20, pause=0.1)
    except AssertionError:
        checks.check(f"{what} is named", False, agent.tail()[-1500:])
        return agent.stop()
    time.sleep(1)
    told = [line for line in agent.tail().splitlines() if all(word in line for word in words)]
    served = agent.post("/ofrep/v1/evaluate/flags/recs", {})
    refused = agent.post("/api/v1/switches/recs/pin", {"level": "off", "for": "1h", "reason": "test", "by": "test"})
    checks.check(f"{what}: the log says so ({len(told)} times), applications are served, a pin is refused",
                 len(told) <= 4 and served.get("variant") == "full" and refused.get("status") != "success", (told[:3], served, refused))
    agent.stop()


def certificates(checks, folder):
    ours, others = Authority(folder, "ca"), Authority(folder, "other-ca")
    ours.issue("member")
    ours.issue("agent", "DNS:agent")
    others.issue("stranger", "DNS:agent")
    server = ["--cert-file", ours.cert("member"), "--key-file", ours.key("member")]
    ctl = ["--cacert", ours.cert("ca")]
    right = f"ca_file: {ours.cert('ca')}"
    with_cert = f"{right}, cert_file: {ours.cert('agent')}, key_file: {ours.key('agent')}"

    cluster = Cluster(size=1, tls=server, ctl=ctl, direct=True)
    first = agent(cluster, "tls", tls=right)
    good(checks, "TLS, with the authority that the server's certificate is from", first)
    first.stop()
    bad(checks, "TLS, another authority", agent(cluster, "a", tls=f"ca_file: {others.cert('other-ca')}"), ["ca_file", "not from an authority"])
    bad(checks, "TLS, another name", agent(cluster, "b", tls=f"{right}, server_name: etcd.example.org"), ["server_name", "another name"])
    bad(checks, "no TLS where the server wants it", agent(cluster, "c", scheme="http"), ["the shared store cannot be used"])
    cluster.close()

    cluster = Cluster(size=1, tls=[*server, "--client-cert-auth", "--trusted-ca-file", ours.cert("ca")],
                      ctl=[*ctl, "--cert", ours.cert("member"), "--key", ours.key("member")], direct=True)
    first = agent(cluster, "mutual", tls=with_cert)
    good(checks, "mutual TLS, with a certificate of ours", first)
    # Renewed in place: the next connection takes it.
    ours.issue("agent", "DNS:agent")
    cluster.members[0].kill()
    wait_for("that to be noticed", lambda: "brownout_store_connected 0" in metrics(first), timeout=15, pause=0.1)
    cluster.members[0].start("existing")
    good(checks, "a certificate that was renewed in place is taken", first)
    first.stop()
    bad(checks, "mutual TLS, no certificate", agent(cluster, "d", tls=right), ["cert_file", "does not take our certificate"])
    bad(checks, "mutual TLS, a stranger's certificate",
        agent(cluster, "e", tls=f"{right}, cert_file: {others.cert('stranger')}, key_file: {others.key('stranger')}"), ["cert_file", "does not take our certificate"])
    users(checks, folder, cluster, with_cert)
    cluster.close()


def users(checks, folder, cluster, tls):
    """Users, with mutual TLS before them."""
    (folder / "password").write_text("secret\n")
    (folder / "wrong").write_text("guess\n")
    user = lambda name, password: f"    username: {name}\n    password_file: {folder / password}\n"
    for command in (["user", "add", "root:root"], ["user", "grant-role", "root", "root"], ["role", "add", "fleet"],
                    ["role", "grant-permission", "fleet", "readwrite", "/fleet/", "--prefix"], ["user", "add", "worker:secret"], ["user", "grant-role", "worker", "fleet"],
                    ["user", "add", "guest:secret"]):
        try:
            cluster.ctl(*command)
        except RuntimeError as error:
            # The role of that name is there from the beginning in later versions.
            assert "already" in str(error) or command[:2] == ["user", "grant-role"], error
    cluster.ctl("auth", "enable")
    first = agent(cluster, "user", tls=tls, user=user("worker", "password"))
    good(checks, "mutual TLS and a user with its password", first)
    # A member that starts again has forgotten every token.
    member = cluster.members[0]
    member.kill()
    wait_for("that to be noticed", lambda: "brownout_store_connected 0" in metrics(first), timeout=15, pause=0.1)
    member.start("existing")
    good(checks, "a token that etcd has forgotten is asked for again", first)
    first.stop()
    bad(checks, "a wrong password", agent(cluster, "f", tls=tls, user=user("worker", "wrong")), ["password of user", "worker"])
    bad(checks, "a user that there is not", agent(cluster, "g", tls=tls, user=user("nobody", "password")), ["password of user", "nobody"])
    bad(checks, "a user without the right to the prefix", agent(cluster, "h", tls=tls, user=user("guest", "password")), ["no right", "/fleet"])
    bad(checks, "no user where etcd wants one", agent(cluster, "i", tls=tls), ["no right", "gives no `username`"])


def main():
    checks = Checks()
    certificates(checks, pathlib.Path(tempfile.mkdtemp(prefix="brownout-access-")))
    checks.close()


if __name__ == "__main__":
    main()
