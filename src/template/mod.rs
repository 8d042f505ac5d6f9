//! Go's text/template, the subset of rule annotations and Alertmanager templates. Pure: no network, no files.
