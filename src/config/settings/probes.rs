//! `modules` and `probes`.

use std::collections::HashSet;

use super::{client, discovery};
use crate::config::checker::Checker;
use crate::config::global::Global;
use crate::config::modules::{self, Module};
use crate::config::probes::Probe;
use crate::config::targets::StaticConfig;
use crate::config::values::{Entries, Pattern};
use crate::model::{Labels, LabelsBuilder, Relabel, relabel};
use crate::signals::probes as room;
use crate::signals::probes::{
    Compression, DnsProbe, DnsTransport, HeaderMatch, HttpProbe, IcmpProbe, IpProtocol, ProbeJob, ProbeTarget, Prober,
    RecordChecks, Step, TcpProbe, UnixProbe,
};
use crate::yaml::{SourceFile, Spanned, decode_text};

/// All jobs, their targets relabelled.
pub fn settings(check: &mut Checker<'_>, global: &Global, written: &Entries<Module>, jobs: &[Probe]) -> Vec<ProbeJob> {
    let modules: Vec<(&Spanned<String>, Option<room::Module>)> =
        written.0.iter().map(|(name, module)| (name, one_module(check, name, module))).collect();
    discovery::unique_jobs(check, "probes", jobs.iter().map(|job| &job.job_name));
    jobs.iter().filter_map(|job| one_job(check, global, &modules, job)).collect()
}

fn one_job(
    check: &mut Checker<'_>,
    global: &Global,
    modules: &[(&Spanned<String>, Option<room::Module>)],
    job: &Probe,
) -> Option<ProbeJob> {
    check.refused(&job.refused);
    check.refused(&job.discovery.refused);
    let (scrape_interval, scrape_timeout) = discovery::times(check, global, &job.interval, &job.timeout);
    let targets = targets(check, job);
    if targets.is_empty() && job.discovery.is_empty() && job.discovery.refused.is_empty() {
        let help = "add `static_configs: [{targets: [\"http://localhost/healthz\"]}]`";
        check.warning(&job.job_name.place, format!("the job `{}` has no targets", job.job_name.value), help);
    }
    let Some((_, module)) = modules.iter().find(|(name, _)| name.value == job.module.value) else {
        check.unknown("module", &job.module, modules.iter().map(|(name, _)| name.value.as_str()));
        return None;
    };
    let module = module.clone()?;
    Some(ProbeJob {
        job_name: job.job_name.value.clone(),
        module_name: job.module.value.clone(),
        module,
        scrape_interval,
        scrape_timeout,
        targets,
    })
}

/// The targets of a job: written ones, then those of discovery files, which are read now and watched.
fn targets(check: &mut Checker<'_>, job: &Probe) -> Vec<ProbeTarget> {
    let mut groups = job.discovery.static_configs.clone();
    for file in discovery::file_groups(check, &job.discovery).into_iter().flat_map(|config| config.files) {
        check.watched.extend(file.parent().map(ToOwned::to_owned));
        for path in check.files.glob(&file) {
            let Ok(text) = check.files.read(&path) else { continue };
            let source = SourceFile::new(path.display().to_string(), text);
            let (found, problems) = decode_text::<Vec<StaticConfig>>(&source);
            check.problems.extend(problems);
            groups.extend(found.unwrap_or_default());
            check.watched.insert(path);
        }
    }
    // The steps were compiled once when they were read: none of them fails now.
    let steps: Vec<Relabel> =
        job.discovery.relabel_configs.iter().filter_map(|step| Relabel::new(&step.0).ok()).collect();
    let mut seen: HashSet<Labels> = HashSet::new();
    let mut all = Vec::new();
    for group in &groups {
        for target in &group.targets {
            let Some(found) = one_target(&job.job_name.value, target, group, &steps) else { continue };
            if !seen.insert(found.labels.clone()) {
                let message = format!("another target of `{}` has the same labels", job.job_name.value);
                check.warning(&target.place, message, "remove it, or set apart the label `instance`");
            }
            all.push(found);
        }
    }
    all
}

/// A target after relabelling. As behind a blackbox_exporter, `__param_target` is what is probed, so that the relabelling
/// that people have for one works here, and its own address is of no use.
fn one_target(job: &str, target: &Spanned<String>, group: &StaticConfig, steps: &[Relabel]) -> Option<ProbeTarget> {
    let mut labels = LabelsBuilder::new();
    for (name, value) in &group.labels.0 {
        labels.set(name, value);
    }
    labels.set("__address__", &target.value);
    if labels.value("job").is_empty() {
        labels.set("job", job);
    }
    if !relabel(steps, &mut labels) {
        return None;
    }
    let text = |labels: &LabelsBuilder, name: &str| Some(labels.value(name).to_owned()).filter(|text| !text.is_empty());
    let address = text(&labels, "__param_target").or_else(|| text(&labels, "__address__"))?;
    let hostname = text(&labels, "__param_hostname");
    if labels.value("instance").is_empty() {
        labels.set("instance", &address);
    }
    let labels = labels.build().filtered(|name| !name.starts_with("__"));
    Some(ProbeTarget { address, labels, hostname })
}

fn one_module(check: &mut Checker<'_>, name: &Spanned<String>, module: &Module) -> Option<room::Module> {
    check.refused(&module.refused);
    let errors_before = check.problems.len();
    let prober = match module.prober.value {
        modules::Prober::Http => Prober::Http(Box::new(http(check, module.http.as_ref()))),
        modules::Prober::Tcp => Prober::Tcp(tcp(check, module.tcp.as_ref())),
        modules::Prober::Unix => Prober::Unix(unix(check, module.unix.as_ref())),
        modules::Prober::Icmp => Prober::Icmp(icmp(check, module.icmp.as_ref())),
        modules::Prober::Dns => Prober::Dns(Box::new(dns(check, module.dns.as_ref()?))),
        modules::Prober::Grpc | modules::Prober::Websocket => return None,
    };
    let built = room::Module { prober, timeout: module.timeout.map(|span| span.0).filter(|span| !span.is_zero()) };
    if check.problems.len() == errors_before
        && let Err(error) = built.check()
    {
        check.error(&name.place, format!("the module `{}` cannot work: {error}", name.value), "");
    }
    Some(built)
}

fn ip(written: modules::IpProtocol) -> IpProtocol {
    IpProtocol { prefer_ip4: written.prefer_ip4, fallback: written.fallback }
}

fn texts(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(|pattern| pattern.0.as_str().to_owned()).collect()
}

fn header_matches(matches: &[modules::HeaderMatch]) -> Vec<HeaderMatch> {
    let one = |m: &modules::HeaderMatch| HeaderMatch {
        header: m.header.clone(),
        regexp: m.regexp.0.as_str().to_owned(),
        allow_missing: m.allow_missing,
    };
    matches.iter().map(one).collect()
}

fn http(check: &mut Checker<'_>, written: Option<&modules::Http>) -> HttpProbe {
    let Some(http) = written else { return HttpProbe::default() };
    check.refused(&http.refused);
    let connect_headers = http.client.proxy_connect_header.0.iter();
    HttpProbe {
        ip: ip(http.ip),
        valid_status_codes: http.valid_status_codes.iter().map(|code| code.value).collect(),
        valid_http_versions: http.valid_http_versions.clone(),
        method: http.method.clone(),
        headers: http.headers.0.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect(),
        body: http.body.clone().unwrap_or_default(),
        body_file: http.body_file.as_ref().map(|file| check.file("the body's file", file)),
        body_size_limit: http.body_size_limit.map(|bytes| bytes.0).filter(|bytes| *bytes > 0),
        compression: http.compression.and_then(|compression| match compression {
            modules::Compression::Gzip => Some(Compression::Gzip),
            modules::Compression::Deflate => Some(Compression::Deflate),
            modules::Compression::Identity => Some(Compression::Identity),
            // Refused when it was read.
            modules::Compression::Brotli => None,
        }),
        fail_if_ssl: http.fail_if_ssl,
        fail_if_not_ssl: http.fail_if_not_ssl,
        fail_if_body_matches_regexp: texts(&http.fail_if_body_matches_regexp),
        fail_if_body_not_matches_regexp: texts(&http.fail_if_body_not_matches_regexp),
        fail_if_header_matches: header_matches(&http.fail_if_header_matches),
        fail_if_header_not_matches: header_matches(&http.fail_if_header_not_matches),
        client: client::probe_client(check, &http.client),
        proxy_connect_header: connect_headers
            .flat_map(|(name, values)| values.iter().map(|value| (name.value.clone(), value.expose().to_owned())))
            .collect(),
        skip_resolve_phase_with_proxy: http.skip_resolve_phase_with_proxy,
    }
}

fn steps(dialogue: &[modules::Step]) -> Vec<Step> {
    let one = |step: &modules::Step| Step {
        expect: step.expect.as_ref().map(|pattern| pattern.0.as_str().to_owned()),
        expect_bytes: step.expect_bytes.as_ref().map(|bytes| bytes.0.clone()).unwrap_or_default(),
        send: step.send.as_ref().map(|bytes| bytes.0.clone()).unwrap_or_default(),
        starttls: step.starttls,
        labels: step.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect(),
    };
    dialogue.iter().map(one).collect()
}

fn tcp(check: &mut Checker<'_>, written: Option<&modules::Tcp>) -> TcpProbe {
    let Some(tcp) = written else { return TcpProbe::default() };
    TcpProbe {
        ip: ip(tcp.ip),
        source_ip_address: tcp.source_ip_address,
        tls: tcp.tls,
        tls_config: client::tls(check, &tcp.tls_config),
        query_response: steps(&tcp.query_response),
    }
}

fn unix(check: &mut Checker<'_>, written: Option<&modules::Unix>) -> UnixProbe {
    let Some(unix) = written else { return UnixProbe::default() };
    UnixProbe {
        tls: unix.tls,
        tls_config: client::tls(check, &unix.tls_config),
        query_response: steps(&unix.query_response),
    }
}

fn icmp(check: &mut Checker<'_>, written: Option<&modules::Icmp>) -> IcmpProbe {
    let Some(icmp) = written else { return IcmpProbe::default() };
    check.refused(&icmp.refused);
    IcmpProbe {
        ip: ip(icmp.ip),
        source_ip_address: icmp.source_ip_address,
        payload_size: icmp.payload_size,
        ttl: Some(icmp.ttl).filter(|ttl| *ttl > 0),
    }
}

fn dns(check: &mut Checker<'_>, dns: &modules::Dns) -> DnsProbe {
    let records = |checks: &modules::RecordChecks| RecordChecks {
        fail_if_matches_regexp: texts(&checks.fail_if_matches_regexp),
        fail_if_all_match_regexp: texts(&checks.fail_if_all_match_regexp),
        fail_if_not_matches_regexp: texts(&checks.fail_if_not_matches_regexp),
        fail_if_none_matches_regexp: texts(&checks.fail_if_none_matches_regexp),
    };
    let tls = client::tls(check, &dns.tls_config);
    DnsProbe {
        ip: ip(dns.ip),
        source_ip_address: dns.source_ip_address,
        transport: match (dns.dns_over_tls, dns.transport) {
            (true, _) => DnsTransport::Tls(tls),
            (false, modules::Transport::Tcp) => DnsTransport::Tcp,
            (false, modules::Transport::Udp) => DnsTransport::Udp,
        },
        query_name: dns.query_name.clone(),
        query_type: dns.query_type.clone(),
        query_class: dns.query_class.clone(),
        recursion_desired: dns.recursion_desired,
        valid_rcodes: dns.valid_rcodes.clone(),
        validate_answer_rrs: records(&dns.answer),
        validate_authority_rrs: records(&dns.authority),
        validate_additional_rrs: records(&dns.additional),
    }
}
