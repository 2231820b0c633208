//! YAML events to spanned [`Node`](super::Node)s; the only user of the YAML parser crate.
