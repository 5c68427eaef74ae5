//! A member's oplog, short: the last position of each term. Terms have one primary, and all others copy in order, so
//! that one who has a position has all before it.

use swarmset::mongo::model::OpTime;

/// A position in the oplog: by term, then by the primary's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub term: i64,
    /// Thousandths of a second.
    pub at: u64,
}

impl Position {
    /// As a status shows it.
    pub fn optime(self) -> Option<OpTime> {
        (self != Self::default()).then(|| OpTime {
            term: self.term,
            seconds: u32::try_from(self.at / 1000).unwrap_or(u32::MAX),
            increment: u32::try_from(self.at % 1000).unwrap_or_default() + 1,
        })
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Oplog(Vec<Position>);

impl Oplog {
    pub fn last(&self) -> Position {
        self.0.last().copied().unwrap_or_default()
    }

    /// Whether this position, which some primary wrote, is in it.
    pub fn contains(&self, position: Position) -> bool {
        position == Position::default()
            || self
                .0
                .iter()
                .any(|last| last.term == position.term && last.at >= position.at)
    }

    /// Takes a write of a primary.
    pub fn append(&mut self, position: Position) {
        match self.0.last_mut() {
            Some(last) if last.term == position.term => last.at = position.at,
            _ => self.0.push(position),
        }
    }

    /// The last position that both have.
    pub fn common(&self, other: &Self) -> Position {
        let mut common = Position::default();
        for (mine, theirs) in self.0.iter().zip(&other.0) {
            if mine.term != theirs.term {
                break;
            }
            common = (*mine).min(*theirs);
            if mine.at != theirs.at {
                break;
            }
        }
        common
    }

    /// Takes back what comes after this position, which it has.
    pub fn roll_back_to(&mut self, position: Position) {
        self.0.retain(|last| last.term <= position.term);
        match self.0.last_mut() {
            Some(last) if last.term == position.term => last.at = position.at,
            _ => {}
        }
    }
}
