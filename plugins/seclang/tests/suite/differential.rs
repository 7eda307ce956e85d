//! A live comparison with libmodsecurity.
