//! Tasks that the kernel found hung, from `/proc/sys/kernel/hung_task_detect_count` (Linux 6.13 and later).
//! A widely used dashboard asks for the name without `_total`, so both are given.

use super::prelude::*;

const TOTAL: Family = Family::counter(
    "node_kernel_hung_tasks_total",
    "Total number of tasks that have been detected as hung since the system booted.",
);
const PLAIN: Family =
    Family::gauge("node_kernel_hung_tasks", "The same as node_kernel_hung_tasks_total, for dashboards that ask so.");

pub(crate) struct KernelHung(Reader);

impl KernelHung {
    pub(crate) fn new(checked: &Checked) -> KernelHung {
        KernelHung(Reader::new(checked.proc("sys/kernel/hung_task_detect_count")))
    }
}

impl Collector for KernelHung {
    fn collect(&mut self, _now: Timestamp, sink: &mut Sink) -> Result<(), Failure> {
        let count = number(trim(self.0.read()?)).ok_or(Failure::malformed("hung_task_detect_count"))?;
        sink.put(&TOTAL, &[], count);
        sink.put(&PLAIN, &[], count);
        Ok(())
    }
}
