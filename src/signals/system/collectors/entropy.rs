//! The kernel's entropy pool, from `/proc/sys/kernel/random`.

use super::prelude::*;

const AVAILABLE: Family = Family::gauge("node_entropy_available_bits", "Bits of available entropy.");
const POOL: Family = Family::gauge("node_entropy_pool_size_bits", "Bits of entropy pool.");

pub(crate) struct Entropy {
    available: Reader,
    pool: Reader,
}

impl Entropy {
    pub(crate) fn new(checked: &Checked) -> Entropy {
        Entropy {
            available: Reader::new(checked.proc("sys/kernel/random/entropy_avail")),
            pool: Reader::new(checked.proc("sys/kernel/random/poolsize")),
        }
    }
}

impl Collector for Entropy {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        for (family, file) in [(&AVAILABLE, &mut self.available), (&POOL, &mut self.pool)] {
            let bits = number(trim(file.read()?)).ok_or(Failure::malformed("the entropy pool's size"))?;
            sink.put(family, &[], bits);
        }
        Ok(())
    }
}
