//! Elections: the first one, and those by which the lead goes from one member to another, unnoticed by clients.
//!
//! A member that is merely told to stand for election (`replSetStepUp`) deposes the primary by its higher term. The
//! primary then ends operations before `hello` says that it leads no more, so that a driver's one retry meets it
//! again and fails; and writes that nobody has copied are rolled back. `replSetStepDown` does both in order: it says
//! so first, and waits until the others have all writes (server, `ReplicationCoordinatorImpl::stepDown`).

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use super::{Applied, mongo_said};
use crate::mongo::client::{MongoError, Mongods};
use crate::mongo::model::majority;
use crate::step::{Candidacy, Target};

/// How long the primary may hold up writes until others have the last one. If it takes longer, it leads on.
const CATCH_UP: Duration = Duration::from_secs(1);
/// For so long it then takes writes again before the next attempt.
const BREATH: Duration = Duration::from_secs(2);
/// How long the old primary does not stand: MongoDB's own election time-out.
const REST: Duration = Duration::from_secs(10);
/// The same for one that would take the lead back: as long as the stack file's grace period.
const LONG_REST: Duration = Duration::from_secs(15 * 60);
/// How long the others stand back: longer than all of this takes, and shorter than an election time-out, so that a
/// fail-over is not held up. The server itself lets any of them stand when the primary steps down.
const STAND_BACK: Duration = Duration::from_secs(3);
/// One that does not answer is not waited for.
const STAND_BACK_DEADLINE: Duration = Duration::from_millis(500);
/// How long the others may take to copy from the successor. Writes go on meanwhile.
const LINE_UP_DEADLINE: Duration = Duration::from_millis(1500);
/// Between two candidacies.
const AGAIN: Duration = Duration::from_millis(50);
/// How often a successor stands: the server may be about to elect it anyway.
const CANDIDACIES_OF_SUCCESSOR: u32 = 3;

/// Steps the primary down and its successor up.
pub(super) async fn hand_over(
    mongods: &Mongods,
    from: &Target,
    to: &Target,
    others: &[Target],
    outranks: bool,
) -> Applied {
    line_up(mongods, from, to, others).await;
    let stand_back = others.iter().map(|t| mongods.freeze(t.address, STAND_BACK));
    // Whoever cannot be told may be elected instead; that is then handed over in turn.
    let _ = timeout(STAND_BACK_DEADLINE, join_all(stand_back)).await;
    let rest = if outranks { LONG_REST } else { REST };
    match mongods.step_down(from.address, CATCH_UP, rest).await {
        Ok(()) => {}
        // Nobody has caught up in time, or it is no primary any more.
        Err(MongoError::Command { message, .. }) => {
            sleep(BREATH).await;
            return Applied::NotYet { why: message };
        }
        failed => return mongo_said(failed),
    }
    // It may lead already: then it says yes, too.
    let stood = stand(mongods, to, CANDIDACIES_OF_SUCCESSOR).await;
    if stood == Applied::Done {
        // Else it looks for a source itself, each second.
        let _ = mongods.sync_from(from.address, &to.host).await;
    }
    stood
}

/// Lets the others copy from the successor beforehand, so that its first writes find a majority at once: members whose
/// source has stepped down look for another only once a second. Who cannot, or not in time, does just that.
async fn line_up(mongods: &Mongods, from: &Target, to: &Target, others: &[Target]) {
    // Whoever copies from one of the others would then copy from itself.
    let is_first = mongods.sync_source(to.address).await;
    if !is_first.is_ok_and(|source| source.is_some_and(|s| s == from.host)) {
        return;
    }
    let in_line = others.iter().map(|other| async {
        let is_in_line = || async {
            let source = mongods.sync_source(other.address).await?;
            Ok::<bool, MongoError>(source.as_ref() == Some(&to.host))
        };
        // One that is told to copy from where it copies already pauses for a second.
        if is_in_line().await? {
            return Ok(());
        }
        mongods.sync_from(other.address, &to.host).await?;
        while !is_in_line().await? {
            sleep(AGAIN).await;
        }
        Ok::<(), MongoError>(())
    });
    let mut in_line: FuturesUnordered<_> = in_line.collect();
    // With successor and old primary they are the voters; the successor and so many of them are a majority.
    let mut needed = majority(others.len() + 2) - 1;
    let enough = async {
        while needed > 0
            && let Some(one) = in_line.next().await
        {
            needed -= usize::from(one.is_ok());
        }
    };
    let _ = timeout(LINE_UP_DEADLINE, enough).await;
}

/// Stands until it is elected, but not for long: whoever was elected meanwhile must not be deposed by it.
pub(super) async fn stand(mongods: &Mongods, on: &Target, candidacies: u32) -> Applied {
    let mut refusal = String::new();
    for turn in 0..candidacies {
        if turn > 0 {
            sleep(AGAIN).await;
        }
        match mongods.stand_for_election(on.address).await {
            // "Election failed": a majority has not its configuration yet, or is ahead.
            Err(MongoError::Command { message, .. }) => refusal = message,
            answer => return mongo_said(answer),
        }
    }
    Applied::NotYet { why: refusal }
}

/// How often a member may stand in one step. Nobody else stands for an election time-out after an initiation.
pub(super) fn candidacies(why: Candidacy) -> u32 {
    match why {
        Candidacy::FirstElection => 20,
        Candidacy::NoPrimary => 1,
    }
}
