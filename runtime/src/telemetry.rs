//! The names of spans and events, declared once.

use tracing::Span;

/// One command at its instance, from being taken to being handed to the log.
/// Under the span that was current where it was sent, whichever request first woke the actor.
pub(crate) fn command(
    caller: &Span,
    stream: &dyn std::fmt::Display,
    ctx: &chronicler_domain::Context,
) -> Span {
    tracing::debug_span!(
        parent: caller.id(),
        "command",
        %stream,
        command_id = %ctx.command_id(),
        correlation_id = %ctx.correlation_id(),
    )
}

/// One recovery of an instance.
pub(crate) fn recovery(stream: &dyn std::fmt::Display) -> Span {
    tracing::debug_span!("recovery", %stream)
}

/// One commit, from being handed to the log to its answer.
pub(crate) fn append(stream: &dyn std::fmt::Display, ctx: &chronicler_domain::Context) -> Span {
    tracing::debug_span!(
        "append",
        %stream,
        commit_id = %ctx.command_id(),
        correlation_id = %ctx.correlation_id(),
    )
}
