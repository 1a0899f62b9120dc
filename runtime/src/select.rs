//! `select!`: waits for the first of several futures, in the order written.
//!
//! Ours, because tokio's begins at a random branch unless told otherwise, and other crates may not name tokio. The
//! futures are a list that is polled from its head; the macro builds the list and takes the result apart.

use pin_project_lite::pin_project;
use std::{
    convert::Infallible,
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
};

/// Waits for the first of several futures, in both worlds: the branches are polled in the order written and the first
/// that is ready wins. Put what may be always ready last.
///
/// ```text
/// runtime::select! {
///     () = shutdown.requested() => return,
///     Some(change) = changes.recv(), if !full => { apply(change) }
///     else => idle(),
/// }
/// ```
///
/// As tokio's: the other futures are dropped before the winner's handler runs; a branch whose `if` is false is not
/// polled; one whose result does not match its pattern is given up, and the others go on; with all given up, `else`
/// runs, and without one it panics. Inside a pattern, `mut` and `ref` are not allowed.
#[macro_export]
macro_rules! select {
    (biased; $($branches:tt)+) => { $crate::select!(@normalize () $($branches)+) };

    (@normalize ($($done:tt)*) else => $handler:expr $(,)?) => {
        $crate::select!(@build ($($done)*) $handler)
    };
    (@normalize ($($done:tt)*)) => {
        $crate::select!(@build ($($done)*) panic!("every branch was given up, and there is no else branch"))
    };
    (@normalize ($($done:tt)*) $pattern:pat = $future:expr, if $enabled:expr => $handler:block, $($rest:tt)*) => {
        $crate::select!(@normalize ($($done)* ($pattern, $future, $enabled, $handler)) $($rest)*)
    };
    (@normalize ($($done:tt)*) $pattern:pat = $future:expr => $handler:block, $($rest:tt)*) => {
        $crate::select!(@normalize ($($done)* ($pattern, $future, true, $handler)) $($rest)*)
    };
    (@normalize ($($done:tt)*) $pattern:pat = $future:expr, if $enabled:expr => $handler:block $($rest:tt)*) => {
        $crate::select!(@normalize ($($done)* ($pattern, $future, $enabled, $handler)) $($rest)*)
    };
    (@normalize ($($done:tt)*) $pattern:pat = $future:expr => $handler:block $($rest:tt)*) => {
        $crate::select!(@normalize ($($done)* ($pattern, $future, true, $handler)) $($rest)*)
    };
    (@normalize ($($done:tt)*) $pattern:pat = $future:expr, if $enabled:expr => $handler:expr) => {
        $crate::select!(@normalize ($($done)* ($pattern, $future, $enabled, $handler)))
    };
    (@normalize ($($done:tt)*) $pattern:pat = $future:expr => $handler:expr) => {
        $crate::select!(@normalize ($($done)* ($pattern, $future, true, $handler)))
    };
    (@normalize ($($done:tt)*) $pattern:pat = $future:expr, if $enabled:expr => $handler:expr, $($rest:tt)*) => {
        $crate::select!(@normalize ($($done)* ($pattern, $future, $enabled, $handler)) $($rest)*)
    };
    (@normalize ($($done:tt)*) $pattern:pat = $future:expr => $handler:expr, $($rest:tt)*) => {
        $crate::select!(@normalize ($($done)* ($pattern, $future, true, $handler)) $($rest)*)
    };

    // The conditions come first: they may look at what the futures then borrow.
    (@build ($(($pattern:pat, $future:expr, $enabled:expr, $handler:expr))+) $otherwise:expr) => {{
        let mut enabled = [$($enabled),+].into_iter();
        let selected = $crate::__private::first_of($crate::select!(@list enabled $(($pattern, $future))+)).await;
        match selected {
            None => $otherwise,
            Some(selected) => $crate::select!(@take selected $(($pattern, $handler))+),
        }
    }};
    (@list $enabled:ident) => { $crate::__private::End };
    (@list $enabled:ident ($pattern:pat, $future:expr) $($rest:tt)*) => {
        $crate::__private::branch(
            $future,
            $enabled.next() == Some(true),
            |output| {
                #[allow(unused_variables, unreachable_patterns, clippy::all)]
                let accepted = match output {
                    $pattern => true,
                    _ => false,
                };
                accepted
            },
            $crate::select!(@list $enabled $($rest)*),
        )
    };
    (@take $selected:ident) => { match $selected {} };
    (@take $selected:ident ($pattern:pat, $handler:expr) $($rest:tt)*) => {
        match $selected {
            $crate::__private::Either::First($pattern) => $handler,
            #[allow(unreachable_patterns)]
            $crate::__private::Either::First(_) => unreachable!("only what matches is accepted"),
            $crate::__private::Either::Later(selected) => $crate::select!(@take selected $($rest)*),
        }
    };

    ($($branches:tt)+) => { $crate::select!(@normalize () $($branches)+) };
}

/// The output of a list: of its first branch, or of a later one.
pub enum Either<First, Later> {
    /// The first branch won.
    First(First),
    /// A later one did.
    Later(Later),
}

/// What a list of branches answers when it is polled.
pub enum Polled<Output> {
    /// A branch is ready and accepted.
    Ready(Output),
    /// None is yet.
    Pending,
    /// No branch of it will ever be ready.
    GivenUp,
}

/// A list of branches.
pub trait Branches {
    /// What the branches give, one inside the other.
    type Output;

    /// Polls the branches in order until one is ready and accepted.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled<Self::Output>;
}

/// The empty list.
pub struct End;

pin_project! {
    /// A branch, and those after it.
    pub struct Branch<F, Accepts, Rest> {
        #[pin] future: F,
        enabled: bool,
        accepts: Accepts,
        #[pin] rest: Rest,
    }
}

/// Puts a branch before others.
pub fn branch<F, Accepts, Rest>(
    future: F,
    enabled: bool,
    accepts: Accepts,
    rest: Rest,
) -> Branch<F::IntoFuture, Accepts, Rest>
where
    F: IntoFuture,
    Accepts: Fn(&F::Output) -> bool,
{
    Branch { future: future.into_future(), enabled, accepts, rest }
}

impl Branches for End {
    type Output = Infallible;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Polled<Infallible> {
        Polled::GivenUp
    }
}

impl<F, Accepts, Rest> Branches for Branch<F, Accepts, Rest>
where
    F: Future,
    Accepts: Fn(&F::Output) -> bool,
    Rest: Branches,
{
    type Output = Either<F::Output, Rest::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled<Self::Output> {
        let this = self.project();
        if *this.enabled
            && let Poll::Ready(output) = this.future.poll(context)
        {
            if (this.accepts)(&output) {
                return Polled::Ready(Either::First(output));
            }
            *this.enabled = false;
        }
        match this.rest.poll(context) {
            Polled::Ready(output) => Polled::Ready(Either::Later(output)),
            Polled::GivenUp if !*this.enabled => Polled::GivenUp,
            Polled::GivenUp | Polled::Pending => Polled::Pending,
        }
    }
}

pin_project! {
    /// The future of a list: nothing when every branch was given up.
    pub struct Select<B> { #[pin] branches: B }
}

/// Makes the future of a list.
pub fn first_of<B: Branches>(branches: B) -> Select<B> {
    Select { branches }
}

impl<B: Branches> Future for Select<B> {
    type Output = Option<B::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().branches.poll(context) {
            Polled::Ready(output) => Poll::Ready(Some(output)),
            Polled::Pending => Poll::Pending,
            Polled::GivenUp => Poll::Ready(None),
        }
    }
}
