//! The planner's stories. Each file beside this one holds some, in blocks:
//!
//! ```text
//! ## What this story shows
//! service mongo replicas=3            what there is, and what changes (text.rs)
//! task 1 n1 running primary
//!
//! plan                                what is planned for it
//! ----
//! nothing to do                       one line a step, reason or fault; … stands for anything
//! ```
//!
//! `plan config` shows the new configurations too. `apply` shows the plan and carries it out in this world (fake.rs).
//! `settle` does so until there is no step left, with time for newcomers to catch up in between, and shows the steps
//! of each round. `elect 2` and `caught up` are changes that come by themselves.
//! `router says 96 "words"` shows what becomes of a router's refusal.
//!
//! `SCENARIO=word` picks stories by title. `UPDATE_GOLDEN=1` writes what is planned into the files.

mod fake;
mod report;
mod text;
mod world;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use world::World;

/// More rounds than any story takes.
const ROUNDS: usize = 80;

macro_rules! files {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })+

        const FILES: &[&str] = &[$(stringify!($name)),+];
    };
}

files! {
    adopt
    disks
    initiate
    moves
    no_primary
    refusals
    restart
    rules
    scale_down
    scale_up
    several_sets
    sharding_add
    sharding_bring_up
    sharding_config_shard
    sharding_drain
    sharding_order
    sharding_refusals
    sharding_services
    sharding_undrained
    swarm_answers
    zero
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Every file is tested, no title comes twice, and there are as many stories as were asked for.
#[test]
fn all_stories_are_told() {
    let mut titles = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "txt") {
            let name = path.file_stem().and_then(|n| n.to_str()).expect("a name");
            assert!(FILES.contains(&name), "{name} is not among the files above");
            let text = std::fs::read_to_string(&path).expect("a readable file");
            titles.extend(
                text.lines()
                    .filter_map(|l| Some(l.strip_prefix("## ")?.to_owned())),
            );
        }
    }
    let count = titles.len();
    titles.sort();
    titles.dedup();
    assert_eq!(count, titles.len(), "two stories have the same title");
    assert!(count >= 60, "only {count} stories");
}

/// Tells all stories of a file, and fails with those that came out otherwise.
fn check(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).expect("a readable file");
    let wanted = std::env::var("SCENARIO").unwrap_or_default();
    let (mut told, mut wrong) = (String::new(), String::new());
    for story in stories(&text) {
        let title = story.lines().next().unwrap_or_default();
        if !title.starts_with("## ") || !title.contains(&wanted) {
            told.push_str(story);
            continue;
        }
        let outcome = std::panic::catch_unwind(|| tell(story));
        let (new, differences) = outcome.unwrap_or_else(|panic| {
            let why = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            (story.to_owned(), format!("panic: {}\n", why.unwrap_or("?")))
        });
        told.push_str(&new);
        if !differences.is_empty() {
            let _ = write!(wrong, "\n{name}.txt: {title}\n{differences}");
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, told).expect("a writable file");
    } else {
        assert!(wrong.is_empty(), "{wrong}");
    }
}

/// What stands before the first title, and each title with what follows it.
fn stories(text: &str) -> Vec<&str> {
    let mut starts: Vec<_> = text.match_indices("\n## ").map(|(at, _)| at + 1).collect();
    starts.insert(0, 0);
    starts.dedup();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(s, e)| &text[*s..e]).collect()
}

/// Tells one story: its text as it should be, and where it was otherwise.
fn tell(story: &str) -> (String, String) {
    let (mut world, mut told, mut wrong) = (World::default(), String::new(), String::new());
    let mut lines = story.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let _ = writeln!(told, "{line}");
        let command = line.split('#').next().unwrap_or_default().trim();
        let happened = match command {
            "plan" => Ok(Some(report::report(&mut world, false))),
            "plan config" => Ok(Some(report::report(&mut world, true))),
            "apply" => {
                let lines = report::report(&mut world, false);
                world.apply_plan();
                Ok(Some(lines))
            }
            "settle" => Ok(Some(settle(&mut world))),
            words if words.starts_with("router says ") => world::sharding::refusal(line).map(Some),
            "caught up" => {
                world.catch_up();
                Ok(None)
            }
            _ if line.starts_with("##") => Ok(None),
            other => match other.strip_prefix("elect ") {
                Some(name) => world.elect(name).map(|()| None),
                None => world.say(line).map(|()| None),
            },
        };
        let found = match happened {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(why) => panic!("line {} of the story, {line:?}: {why}", number + 1),
        };
        assert!(
            lines.next_if(|(_, l)| *l == "----").is_some(),
            "{line:?} wants ---- after it"
        );
        let mut expected = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, l)| !l.trim().is_empty()) {
            expected.push(line.to_owned());
        }
        let same = is_as_expected(&expected, &found);
        if !same {
            let _ = writeln!(wrong, "  {line} (line {} of the story)", number + 1);
            wrong.push_str(&difference(&expected, &found));
        }
        let kept = if same { expected } else { found };
        let _ = writeln!(told, "----\n{}", kept.join("\n"));
    }
    (told, wrong)
}

/// Applies plan after plan until there is no step left.
fn settle(world: &mut World) -> Vec<String> {
    let mut lines = Vec::new();
    for round in 1..=ROUNDS {
        let plan = world.apply_plan();
        if plan.steps.is_empty() {
            let rest = report::report(world, false).into_iter();
            lines.extend(rest.map(|l| format!("then {l}")));
            return lines;
        }
        let steps = report::steps(world, &plan, false).into_iter();
        lines.extend(steps.map(|l| format!("{round}. {l}")));
        world.catch_up();
    }
    lines.push(format!("no end after {ROUNDS} rounds"));
    lines
}

/// Steps in their order; reasons and faults in any.
fn is_as_expected(expected: &[String], found: &[String]) -> bool {
    let is_step = |l: &&String| !["waiting: ", "fault: "].iter().any(|w| l.contains(w));
    let steps =
        |lines: &[String]| -> Vec<String> { lines.iter().filter(is_step).cloned().collect() };
    let (wanted, planned) = (steps(expected), steps(found));
    let mut rest: Vec<_> = found.iter().filter(|l| !is_step(l)).collect();
    wanted.len() == planned.len()
        && wanted.iter().zip(&planned).all(|(e, f)| matches(e, f))
        && expected.iter().filter(|l| !is_step(l)).all(|e| {
            let at = rest.iter().position(|f| matches(e, f));
            at.map(|at| rest.remove(at)).is_some()
        })
        && rest.is_empty()
}

/// Whether a line is as expected; `…` stands for anything.
fn matches(expected: &str, found: &str) -> bool {
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    rest.is_empty() || last == Some("")
}

fn difference(expected: &[String], found: &[String]) -> String {
    let mut text = String::new();
    for line in expected {
        let same = found.iter().any(|f| matches(line, f));
        let _ = writeln!(text, "  {} {line}", if same { ' ' } else { '-' });
    }
    for line in found {
        if !expected.iter().any(|e| matches(e, line)) {
            let _ = writeln!(text, "  + {line}");
        }
    }
    text
}
