//! AWS' Signature Version 4, of a request's headers
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>). Requests without a query.

use std::fmt::Write as _;

use jiff::Timestamp as Moment;
use ring::{digest, hmac};

use super::Secret;

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a Secret,
}

/// The values of the headers `X-Amz-Date` and `Authorization`. `headers` are those that are signed besides the date: names
/// in lower case, `host` among them. `path` is percent-encoded already. `seconds` is the wall time.
#[expect(clippy::too_many_arguments, reason = "what is signed is just that much")]
pub fn sign(
    credentials: &Credentials<'_>,
    region: &str,
    service: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    seconds: i64,
) -> (String, String) {
    let moment = Moment::from_second(seconds).unwrap_or(Moment::UNIX_EPOCH);
    let date = moment.strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut signed: Vec<(&str, &str)> = headers.to_vec();
    signed.push(("x-amz-date", &date));
    signed.sort_unstable();
    let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut canonical = format!("{method}\n{path}\n\n");
    for (name, value) in &signed {
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", hash(body));
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(canonical.as_bytes()));
    let mut key = format!("AWS4{}", credentials.secret_key.expose()).into_bytes();
    for part in [day, region, service, "aws4_request", &text] {
        let with = hmac::Key::new(hmac::HMAC_SHA256, &key);
        key = hmac::sign(&with, part.as_bytes()).as_ref().to_vec();
    }
    let who = credentials.access_key;
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={who}/{scope}, SignedHeaders={names}, Signature={}", hex(&key));
    (date, authorization)
}

fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AWS' test suite (`aws-sig-v4-test-suite`): its key, its date, and what it expects.
    #[test]
    fn aws_own_test_vectors_are_signed_alike() {
        let secret = Secret::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let credentials = Credentials { access_key: "AKIDEXAMPLE", secret_key: &secret };
        let host = ("host", "example.amazonaws.com");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let check = |method: &str, headers: &[(&str, &str)], body: &str, names: &str, signature: &str| {
            let (date, found) =
                sign(&credentials, "us-east-1", "service", method, "/", headers, body.as_bytes(), 1_440_938_160);
            assert_eq!(date, "20150830T123600Z");
            let scope = "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
            assert_eq!(found, format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders={names}, Signature={signature}"));
        };
        // get-vanilla, post-vanilla, get-header-value-trim, post-x-www-form-urlencoded.
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        check("GET", &[host], "", "host;x-amz-date", vanilla);
        let posted = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
        check("POST", &[host], "", "host;x-amz-date", posted);
        let trimmed = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736";
        let headers = [host, ("my-header1", " value1"), ("my-header2", " \"a   b   c\"")];
        check("GET", &headers, "", "host;my-header1;my-header2;x-amz-date", trimmed);
        let encoded = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        check("POST", &[host, form], "Param1=value1", "content-type;host;x-amz-date", encoded);
    }
}
