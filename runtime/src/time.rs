//! Clocks and timers: the machine's in the real world, one virtual clock under every node's own in a simulated one.
//!
//! [`Instant`] is a type of our own, because a simulated node's clocks may run fast or slow; third-party code that asks
//! the operating system sees the unskewed clock.

use pin_project_lite::pin_project;
use std::{
    fmt,
    future::Future,
    ops::{Add, AddAssign, Sub, SubAssign},
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Nanoseconds on this node's monotonic clock, which began with the process (or the run). Means nothing elsewhere: it
/// is never sent to another node and never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

static PROCESS_START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

impl Instant {
    /// The instant this many nanoseconds after the clock began.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock began.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the clock began.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long ago it was; zero for an instant to come.
    pub fn elapsed(self) -> Duration {
        now() - self
    }
}

/// This node's monotonic clock: it never jumps and never goes back.
pub fn now() -> Instant {
    #[cfg(madsim)]
    if let Some(here) = crate::simulation::here() {
        return Instant(crate::simulation::local_now(here));
    }
    Instant(u64::try_from(PROCESS_START.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Milliseconds since 1970 on this node's wall clock, which may be wrong, drift, and jump.
pub fn wall_now() -> i64 {
    #[cfg(madsim)]
    if let Some(here) = crate::simulation::here() {
        return crate::simulation::local_wall(here);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970 as `2026-11-21T11:23:05.123Z` (UTC), for logs and reports.
pub fn format_wall(millis: i64) -> String {
    let (days, within) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Howard Hinnant's civil_from_days: eras of 400 years that begin on the first of March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (within / 3_600_000, within / 60_000 % 60);
    let (second, milli) = (within / 1_000 % 60, within % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Waits for this long on the node's own clock.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(now() + duration)
}

/// Waits until this instant on the node's own clock; ready at once if it has passed.
pub fn sleep_until(deadline: Instant) -> Sleep {
    #[cfg(madsim)]
    if let Some(here) = crate::simulation::here() {
        return Sleep { deadline, kind: SleepKind::Simulated(crate::simulation::Timer::at_local(here, deadline.0)) };
    }
    Sleep { deadline, kind: SleepKind::Real(Box::pin(tokio::time::sleep_until(real_deadline(deadline)))) }
}

fn real_deadline(deadline: Instant) -> tokio::time::Instant {
    // Further ahead than a century the addition could overflow; tokio itself means thirty years by "far future".
    const CENTURY: u64 = 100 * 365 * 86_400 * 1_000_000_000;
    (*PROCESS_START + Duration::from_nanos(deadline.0.min(CENTURY))).into()
}

/// Bounds a future by a duration from now on the node's own clock.
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    timeout_at(now() + duration, future)
}

/// Bounds a future by an instant on the node's own clock. The future is polled first: if both are ready, it wins.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_until(deadline) }
}

/// A future that is ready at its deadline; made by [`sleep`] and [`sleep_until`].
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    deadline: Instant,
    kind: SleepKind,
}

enum SleepKind {
    Real(Pin<Box<tokio::time::Sleep>>),
    #[cfg(madsim)]
    Simulated(crate::simulation::Timer),
}

impl Sleep {
    /// When it is ready.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Moves the deadline, also after it has passed; cheaper than a new one.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        either!(&mut self.kind, SleepKind,
            sleep => sleep.as_mut().reset(real_deadline(deadline)),
            timer => timer.reset_local(deadline.0))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        #[cfg(madsim)]
        let deadline = self.deadline;
        match &mut self.kind {
            SleepKind::Real(sleep) => sleep.as_mut().poll(context),
            #[cfg(madsim)]
            SleepKind::Simulated(timer) => timer.poll_local(deadline.0, context),
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish()
    }
}

pin_project! {
    /// A future and its deadline; made by [`timeout`] and [`timeout_at`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> { #[pin] future: F, sleep: Sleep }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(context).map(|()| Err(Elapsed))
    }
}

/// The deadline of a [`Timeout`] passed before its future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Saturates at the end of time.
impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

/// Saturates at the clock's beginning.
impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }
}

/// Zero when `earlier` is later.
impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_formatted_as_rfc_3339_in_utc() {
        assert_eq!(format_wall(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format_wall(951_827_696_789), "2000-02-29T12:34:56.789Z");
        assert_eq!(format_wall(1_795_260_185_123), "2026-11-21T11:23:05.123Z");
        assert_eq!(format_wall(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn instants_saturate_instead_of_wrapping() {
        let instant = Instant::from_nanos(5);
        assert_eq!(instant - Duration::from_secs(1), Instant::from_nanos(0));
        assert_eq!(instant + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(instant - Instant::from_nanos(9), Duration::ZERO);
    }
}
