//! Pure. The nouns of groups as types, so that no bare string or integer crosses a function boundary.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

/// Declares a newtype over a shared string.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);
        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }
        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

name!(
    /// A group: `group.id`.
    GroupId
);
name!(
    /// A member of a group, by the id that it was given or chose.
    MemberId
);
name!(
    /// A member that keeps its place over a restart: `group.instance.id` (KIP-345).
    InstanceId
);
name!(
    /// A topic, by its name.
    TopicName
);

/// Declares a newtype over an integer.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i32);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Rises with each completed rebalance of a classic group.
    Generation
);
number!(
    /// Rises with each change of what a consumer group's assignment depends on (KIP-848).
    GroupEpoch
);
number!(
    /// The group epoch that a member's assignment has reached (KIP-848).
    MemberEpoch
);

impl Generation {
    /// Of a request that claims none: a consumer that assigns its partitions by itself.
    pub const NONE: Self = Self(-1);

    /// The generation after this one; past 2^31-1 comes 1 (`ClassicGroup.initNextGeneration`).
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(1))
    }
}

impl GroupEpoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl MemberEpoch {
    /// Of a member that joins, or that has lost all and joins again (KIP-848).
    pub const JOIN: Self = Self(0);
    /// Of a member that leaves for good (KIP-848).
    pub const LEAVE: Self = Self(-1);
    /// Of a static member that leaves for a while (KIP-848).
    pub const LEAVE_STATIC: Self = Self(-2);
}

impl From<GroupEpoch> for MemberEpoch {
    fn from(reached: GroupEpoch) -> Self {
        Self(reached.0)
    }
}
