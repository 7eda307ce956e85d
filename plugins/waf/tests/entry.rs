//! The entry's settings.
