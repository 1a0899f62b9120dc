//! The marks of a searched program.
//!
//! Each mark (`sometimes!`, `reachable!`, `buggify!`, `mutant!`) has two definitions: one for builds that hold the
//! simulator, which registers its name at link time, and one that leaves nothing behind.

/// Registers a mark of this program at link time, so that a sweep can tell which were never reached.
#[cfg(madsim)]
#[doc(hidden)]
#[macro_export]
macro_rules! __site {
    ($kind:ident, $name:expr) => {{
        #[$crate::__private::linkme::distributed_slice($crate::observe::SITES)]
        #[linkme(crate = $crate::__private::linkme)]
        static SITE: $crate::observe::Site =
            $crate::observe::Site { kind: $crate::observe::SiteKind::$kind, name: $name, file: file!(), line: line!() };
        &SITE
    }};
}

/// Says that a condition must be true at least once over a sweep: what the search has to reach. Counts only.
#[cfg(madsim)]
#[macro_export]
macro_rules! sometimes {
    ($condition:expr, $name:literal) => {{
        let site = $crate::__site!(Sometimes, $name);
        if $condition {
            $crate::observe::__reached(site);
        }
    }};
}

/// Says that a condition must be true at least once over a sweep; nothing in a build without the simulator.
#[cfg(not(madsim))]
#[macro_export]
macro_rules! sometimes {
    ($condition:expr, $name:literal) => {{
        if false {
            let _: bool = $condition;
        }
    }};
}

/// Says that this line must be reached at least once over a sweep.
#[cfg(madsim)]
#[macro_export]
macro_rules! reachable {
    ($name:literal) => {{
        $crate::observe::__reached($crate::__site!(Reachable, $name));
    }};
}

/// Says that this line must be reached at least once over a sweep; nothing in a build without the simulator.
#[cfg(not(madsim))]
#[macro_export]
macro_rules! reachable {
    ($name:literal) => {{}};
}

/// A rare but legal choice, as a `bool`: each named site is active in a quarter of the runs and then true a quarter of
/// the time, and only in a run that enables it. Always `false` in the real world.
#[cfg(madsim)]
#[macro_export]
macro_rules! buggify {
    ($name:literal) => {
        $crate::observe::__buggify($crate::__site!(Buggify, $name))
    };
}

/// A rare but legal choice; always `false` in a build without the simulator.
#[cfg(not(madsim))]
#[macro_export]
macro_rules! buggify {
    ($name:literal) => {
        false
    };
}

/// Whether the mutant of the bug zoo with this id is switched on in this run. Always `false` in the real world.
#[cfg(madsim)]
#[macro_export]
macro_rules! mutant {
    ($id:literal) => {{
        let site = $crate::__site!(Mutant, $id);
        $crate::observe::__mutant(site, const { $crate::observe::name_hash($id) })
    }};
}

/// Whether a mutant is switched on; always `false` in a build without the simulator.
#[cfg(not(madsim))]
#[macro_export]
macro_rules! mutant {
    ($id:literal) => {
        false
    };
}

/// Counts that the mutant with this id, being switched on, took another branch than the right one.
#[cfg(madsim)]
#[macro_export]
macro_rules! mutant_diverged {
    ($id:literal) => {
        $crate::observe::__mutant_diverged($id)
    };
}

/// Counts that a mutant took another branch; nothing in a build without the simulator.
#[cfg(not(madsim))]
#[macro_export]
macro_rules! mutant_diverged {
    ($id:literal) => {{}};
}
