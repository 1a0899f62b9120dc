//! What faults do to the ways between machines.

use super::*;

impl World {
    /// Cuts the way from one node to another. Cuts are counted: each wants its own [`World::heal`].
    pub fn cut(&mut self, from: i32, to: i32) {
        self.change_way(from, to, |world| *world.cuts.entry((from, to)).or_default() += 1);
    }

    /// Takes one cut back.
    pub fn heal(&mut self, from: i32, to: i32) {
        self.change_way(from, to, |world| count_down(&mut world.cuts, (from, to)));
    }

    /// Holds back all that one node sends to another, and loses nothing. Counted as cuts are.
    pub fn clog(&mut self, from: i32, to: i32) {
        self.change_way(from, to, |world| *world.clogs.entry((from, to)).or_default() += 1);
    }

    /// Takes one clog back: what was held arrives in one burst.
    pub fn unclog(&mut self, from: i32, to: i32) {
        self.change_way(from, to, |world| count_down(&mut world.clogs, (from, to)));
    }

    fn way(&self, from: i32, to: i32) -> Way {
        if self.cuts.contains_key(&(from, to)) {
            Way::Cut
        } else if self.clogs.contains_key(&(from, to)) {
            Way::Clogged
        } else {
            Way::Open
        }
    }

    fn change_way(&mut self, from: i32, to: i32, change: impl FnOnce(&mut Self)) {
        let before = self.way(from, to);
        change(self);
        let (after, a, b) = (self.way(from, to), self.node(from), self.node(to));
        if before == after {
            return;
        }
        match after {
            Way::Open => net::heal(a, b),
            Way::Clogged => net::clog(a, b),
            Way::Cut => net::cut(a, b),
        }
    }

    /// Adds a delay in milliseconds to a link, or takes the last one back.
    pub fn slow(&mut self, from: i32, to: i32, delay_ms: Option<u64>) {
        push_or_pop(self.slow.entry((from, to)).or_default(), delay_ms);
        self.set_link(from, to);
    }

    /// Adds a loss in percent to a link, or takes the last one back.
    pub fn lose(&mut self, from: i32, to: i32, percent: Option<u64>) {
        push_or_pop(self.lossy.entry((from, to)).or_default(), percent);
        self.set_link(from, to);
    }

    /// Leaves a link so many bytes a second, or takes the last limit back.
    pub fn narrow(&mut self, from: i32, to: i32, bytes_per_s: Option<u64>) {
        push_or_pop(self.narrow.entry((from, to)).or_default(), bytes_per_s);
        self.set_link(from, to);
    }

    /// Breaks off every connection between two machines.
    pub fn reset(&self, a: i32, b: i32) {
        net::reset_connections(self.node(a), self.node(b));
        net::reset_connections(self.node(b), self.node(a));
    }

    /// Holds back what a node sends (or gets) of one API, each message for so many milliseconds; without a value, takes the
    /// last hold back.
    pub fn hold(&mut self, id: i32, at: Held, api: ApiKey, delay_ms: Option<u64>) {
        let all = self.holds.entry((id, at, api)).or_default();
        push_or_pop(all, delay_ms);
        let longest = all.iter().max().copied();
        simulation::hold(self.node(id), at, api.0, longest.map(Duration::from_millis));
    }

    pub(super) fn set_links(&self, id: i32) {
        for other in self.everybody().into_iter().filter(|other| *other != id) {
            self.set_link(id, other);
            self.set_link(other, id);
        }
    }

    fn set_link(&self, from: i32, to: i32) {
        let most =
            |map: &BTreeMap<(i32, i32), Vec<u64>>| map.get(&(from, to)).and_then(|all| all.iter().max().copied());
        let (least, longest) = self.cluster.delay_us;
        let extra = Duration::from_millis(most(&self.slow).unwrap_or(0));
        let settings = net::LinkSettings {
            delay: net::Delay::Uniform(extra + Duration::from_micros(least), extra + Duration::from_micros(longest)),
            loss: most(&self.lossy).unwrap_or(0) as u32 * 10,
            bandwidth: self.narrow.get(&(from, to)).and_then(|all| all.iter().min().copied()),
            ..net::LinkSettings::default()
        };
        net::set_link(self.node(from), self.node(to), settings);
    }
}
