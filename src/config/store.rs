//! `store`: where switches are kept, on the host itself or in a fleet's etcd.

use super::client::Tls;
use super::values::{HttpUrl, Interval, at_most_one};
use crate::yaml::{At, Decode, Spanned};

/// `store`.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub etcd: Option<Etcd>,
}

impl Decode for Store {
    fn decode(at: &mut At<'_>) -> Option<Store> {
        let mut fields = at.record("store", "Where switches are kept: in one of these.")?;
        at_most_one(&mut fields, &["embedded", "etcd"]);
        let embedded: Option<Embedded> = fields.optional("embedded", "on this host, in `data_dir`; the default");
        let etcd = fields.optional("etcd", "in etcd, for all hosts of a fleet; see docs/fleet.md");
        let _ = embedded;
        fields.finish();
        Some(Store { etcd })
    }
}

struct Embedded;

impl Decode for Embedded {
    fn decode(at: &mut At<'_>) -> Option<Embedded> {
        at.record("embedded store", "Nothing to set.")?.finish();
        Some(Embedded)
    }
}

/// `store.etcd`.
#[derive(Clone, Debug)]
pub struct Etcd {
    pub endpoints: Spanned<Vec<Spanned<HttpUrl>>>,
    pub prefix: Spanned<String>,
    pub host: Option<Spanned<String>>,
    pub zone: Option<Spanned<String>>,
    pub lease: Spanned<Interval>,
    pub tls: Option<Spanned<Tls>>,
    pub username: Option<Spanned<String>>,
    pub password_file: Option<Spanned<String>>,
}

impl Decode for Etcd {
    fn decode(at: &mut At<'_>) -> Option<Etcd> {
        let doc = "A fleet's store: etcd 3.4 or later. While it is out of reach every host keeps the last values.";
        let mut fields = at.record("etcd store", doc)?;
        let endpoints: Option<Spanned<Vec<Spanned<HttpUrl>>>> = fields.required(
            "endpoints",
            "every member, as `http://host:2379` or `https://host:2379`; calls go to any that answers",
        );
        let prefix = fields.or("prefix", "/brownout", "what all keys of this fleet begin with; one for each fleet");
        let host = fields.optional("host", "this host's name, which no other host has; if missing the system's");
        let zone = fields.optional(
            "zone",
            "the part of the fleet that this host is in; if missing the external label `zone`, or `default`",
        );
        let lease = fields.or(
            "lease",
            "10s",
            "how long a host may be out of reach before its presence and its votes are gone; 2s or more",
        );
        let tls = fields.optional("tls", "TLS, for `https` endpoints");
        let username = fields.optional("username", "the user, when etcd asks who we are");
        let password_file = fields.optional("password_file", "a file that holds the user's password");
        for (there, missing) in [("username", "password_file"), ("password_file", "username")] {
            if fields.has(there) && !fields.has(missing) {
                let help = Some(format!("add `{missing}`, or remove `{there}`"));
                fields.problem(there, format!("`{there}` without `{missing}`"), help);
            }
        }
        fields.finish();
        Some(Etcd { endpoints: endpoints?, prefix, host, zone, lease, tls, username, password_file })
    }
}
