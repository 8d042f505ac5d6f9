//! This host's durable state: an append-only, checksummed log and its snapshot.
