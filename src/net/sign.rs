//! Signatures of webhooks, by the Standard Webhooks specification
//! (<https://github.com/standard-webhooks/standard-webhooks>): HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::{NetError, Secret};

/// The value of the header `webhook-signature`: one `v1,<base64>` for each secret, separated by spaces. Two secrets are
/// given while the receiver's key is being changed.
///
/// # Errors
/// When a secret is not `whsec_` and 24 to 64 bytes in base64.
pub fn standard_webhook(secrets: &[Secret], id: &str, timestamp_secs: i64, body: &[u8]) -> Result<String, NetError> {
    let mut header = String::new();
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &decode(secret)?);
        let mut context = hmac::Context::with_key(&key);
        context.update(format!("{id}.{timestamp_secs}.").as_bytes());
        context.update(body);
        if !header.is_empty() {
            header.push(' ');
        }
        header.push_str("v1,");
        STANDARD.encode_string(context.sign(), &mut header);
    }
    Ok(header)
}

/// Tells whether a text can be used as a signing secret: for the check of a configuration.
///
/// # Errors
/// As [`standard_webhook`].
pub fn check_secret(secret: &Secret) -> Result<(), NetError> {
    decode(secret).map(drop)
}

fn decode(secret: &Secret) -> Result<Vec<u8>, NetError> {
    let text = secret.expose();
    let key = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok();
    key.filter(|key| (24..=64).contains(&key.len())).ok_or_else(|| {
        let hint = "write `whsec_` and 24 to 64 random bytes in base64, for example from `openssl rand -base64 32`";
        NetError::Setting(format!("the signing secret is not one of Standard Webhooks: {hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const FIRST: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_specifications_example_is_signed_alike() {
        let secret = Secret::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let sign = |secrets: &[Secret]| standard_webhook(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, BODY);
        assert_eq!(sign(std::slice::from_ref(&secret)).unwrap(), FIRST);
        let both = sign(&[secret.clone(), secret]).unwrap();
        assert_eq!(both, format!("{FIRST} {FIRST}"));
    }

    #[test]
    fn a_secret_that_is_too_short_or_no_base64_is_refused_without_showing_it() {
        for text in ["whsec_c2hvcnQ=", "whsec_!!!", "hunter2"] {
            let error = check_secret(&Secret::from(text)).unwrap_err().to_string();
            assert!(!error.contains(text) && error.contains("whsec_"), "{error}");
        }
    }
}
