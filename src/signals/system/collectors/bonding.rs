//! Bonding interfaces, from `/sys/class/net/bonding_masters` and the slaves' MII state.

use std::path::PathBuf;

use super::prelude::*;

const SLAVES: Family = Family::gauge("node_bonding_slaves", "Number of configured slaves per bonding interface.");
const ACTIVE: Family = Family::gauge("node_bonding_active", "Number of active slaves per bonding interface.");

pub(crate) struct Bonding {
    masters: Reader,
    net: PathBuf,
    small: Small,
}

impl Bonding {
    pub(crate) fn new(checked: &Checked) -> Bonding {
        let masters = Reader::new(checked.sys("class/net/bonding_masters"));
        Bonding { masters, net: checked.sys("class/net"), small: Small::default() }
    }
}

impl Collector for Bonding {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for master in fields(self.masters.read()?) {
            let master = text(master);
            let directory = self.net.join(&*master);
            let slaves = self.small.text(&directory.join("bonding/slaves")).unwrap_or_default();
            let (mut configured, mut active) = (0, 0);
            for slave in slaves.split_ascii_whitespace() {
                configured += 1;
                let status = ["lower_", "slave_"].iter().find_map(|link| {
                    self.small.text(&directory.join(format!("{link}{slave}/bonding_slave/mii_status")))
                });
                active += u32::from(status.as_deref() == Some("up"));
            }
            sink.put(&SLAVES, &[("master", &master)], f64::from(configured));
            sink.put(&ACTIVE, &[("master", &master)], f64::from(active));
        }
        Ok(())
    }
}
