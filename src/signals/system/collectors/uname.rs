//! Kernel and host name, from uname(2). Dashboards find hosts by `nodename` here.

use super::prelude::*;

const INFO: Family =
    Family::gauge("node_uname_info", "Labeled system information as provided by the uname system call.");

pub(crate) struct Uname;

impl Uname {
    pub(crate) fn new(_checked: &Checked) -> Uname {
        Uname
    }
}

impl Collector for Uname {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let uname = rustix::system::uname();
        let labels = [
            ("sysname", uname.sysname()),
            ("release", uname.release()),
            ("version", uname.version()),
            ("machine", uname.machine()),
            ("nodename", uname.nodename()),
            ("domainname", uname.domainname()),
        ]
        .map(|(label, value)| (label, value.to_string_lossy()));
        let labels: Vec<_> = labels.iter().map(|(label, value)| (*label, &**value)).collect();
        sink.put(&INFO, &labels, 1.0);
        Ok(())
    }
}
