//! Open files of the whole host, from `/proc/sys/fs/file-nr`: allocated, unused, maximum.

use super::prelude::*;

const ALLOCATED: Family = Family::gauge("node_filefd_allocated", "File descriptor statistics: allocated.");
const MAXIMUM: Family = Family::gauge("node_filefd_maximum", "File descriptor statistics: maximum.");

pub(crate) struct Filefd(Reader);

impl Filefd {
    pub(crate) fn new(checked: &Checked) -> Filefd {
        Filefd(Reader::new(checked.proc("sys/fs/file-nr")))
    }
}

impl Collector for Filefd {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let data = self.0.read()?;
        for (family, position) in [(&ALLOCATED, 0), (&MAXIMUM, 2)] {
            let value = fields(data).nth(position).and_then(number).ok_or(Failure::malformed("file-nr"))?;
            sink.put(family, &[], value);
        }
        Ok(())
    }
}
