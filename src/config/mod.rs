//! YAML text -> Raw -> Checked -> each room's own Settings. Pure: reads no file and no environment.
