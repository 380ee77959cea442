//! `nginx -t`: what may be written passes, and what may not is refused with a message that helps.

/// Each directive by itself.
mod directives;
/// The examples of the documents.
mod documents;
/// Directives that do not go together, and likely mistakes.
mod locations;
