//! `nginx -t`: valid configurations are accepted, and invalid ones are refused with a message that helps.

/// Each directive by itself.
mod directives;
/// The examples of the documents.
mod documents;
/// Directives that exclude each other, and probable mistakes.
mod locations;
