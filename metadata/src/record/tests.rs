//! Claims; to be filled.
