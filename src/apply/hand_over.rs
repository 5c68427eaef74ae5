//! The lead goes from one member to another, unnoticed by clients.
//!
//! A member that is merely told to stand for election (`replSetStepUp`) deposes the primary by its higher term. The
//! primary then ends operations before `hello` says that it leads no more, so that a driver's one retry meets it
//! again and fails; and writes that nobody has copied are rolled back. `replSetStepDown` does both in order: it says
//! so first, and waits until the others have all writes (server, `ReplicationCoordinatorImpl::stepDown`).

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use super::{Applied, mongo_said};
use crate::mongo::client::{MongoError, Mongods};
use crate::step::Target;

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
/// Between two candidacies of the successor.
const AGAIN: Duration = Duration::from_millis(50);
/// How often it is asked to stand before the next cycle looks anew.
const CANDIDACIES: u32 = 40;

/// Steps the primary down and its successor up.
pub(super) async fn hand_over(
    mongods: &Mongods,
    from: &Target,
    to: &Target,
    others: &[Target],
    outranks: bool,
) -> Applied {
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
    let mut refusal = String::new();
    for _ in 0..CANDIDACIES {
        match mongods.stand_for_election(to.address).await {
            // It may lead already: then it says yes, too.
            Ok(()) => return Applied::Done,
            Err(MongoError::Command { message, .. }) => refusal = message,
            failed => return mongo_said(failed),
        }
        sleep(AGAIN).await;
    }
    Applied::NotYet { why: refusal }
}
