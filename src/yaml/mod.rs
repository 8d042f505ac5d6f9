//! YAML text -> a tree that knows its places -> typed fields, all problems at once.
