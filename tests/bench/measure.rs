//! What is measured, which figures each measurement yields, and their bars.

use crate::lab::{Lab, Shape};
use crate::{idle, node_loss, plan, roll_out, scale, start};
use anyhow::Result;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One measurement.
pub struct Measure {
    /// What `--only` picks it by.
    pub name: &'static str,
    /// What is done, as the table says it.
    pub what: &'static str,
    /// What comes out.
    pub figures: Vec<Figure>,
    /// How it is done.
    pub work: Work,
    /// How often, unless `--runs` says otherwise.
    pub runs: usize,
}

/// How a measurement is made.
pub enum Work {
    /// By the program alone, as any user.
    Alone(fn(&mut Sample) -> Result<()>),
    /// On a Swarm of this shape, within so many seconds.
    OnLab(Shape, u64, fn(&mut Lab, &mut Sample) -> Result<()>),
}

/// One figure of a measurement.
pub struct Figure {
    /// Its name in a [`Sample`] and in the raw rows.
    pub key: &'static str,
    /// What it is, as the table says it.
    pub words: &'static str,
    /// Its unit; empty for a count.
    pub unit: &'static str,
    /// What it has to be; some figures are shown for comparison only.
    pub bar: Option<Bar>,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// The median of the runs is at most this.
    MedianAtMost(f64),
    /// Every run's value is at most this.
    AllAtMost(f64),
    /// Every run's value is at least this.
    AllAtLeast(f64),
}

/// What one run yields.
#[derive(Default)]
pub struct Sample {
    /// Figures by key.
    pub values: BTreeMap<&'static str, f64>,
    /// Whatever else helps to understand them; for the raw rows.
    pub notes: Map<String, Value>,
}

impl Sample {
    /// Takes a figure.
    pub fn put(&mut self, key: &'static str, value: f64) {
        self.values.insert(key, value);
    }

    /// Takes a note.
    pub fn note(&mut self, name: &str, value: impl Into<Value>) {
        self.notes.insert(name.to_owned(), value.into());
    }
}

const NONE: Bar = Bar::AllAtMost(0.0);
const GAP: Bar = Bar::AllAtMost(1.5);

fn figure(
    key: &'static str,
    words: &'static str,
    unit: &'static str,
    bar: impl Into<Option<Bar>>,
) -> Figure {
    let bar = bar.into();
    Figure {
        key,
        words,
        unit,
        bar,
    }
}

/// What every measurement under load yields, see [`crate::runner::judge`].
fn under_load(more: Vec<Figure>) -> Vec<Figure> {
    let load = [
        figure("errors", "client errors", "", NONE),
        figure("lost", "writes lost or reads wrong", "", NONE),
        figure("gap", "longest time without a write", "s", GAP),
    ];
    load.into_iter().chain(more).collect()
}

fn on_five_nodes(limit: u64, measure: fn(&mut Lab, &mut Sample) -> Result<()>) -> Work {
    let shape = Shape {
        managers: 3,
        workers: 2,
    };
    Work::OnLab(shape, limit, measure)
}

fn on_one_node(limit: u64, measure: fn(&mut Lab, &mut Sample) -> Result<()>) -> Work {
    let shape = Shape {
        managers: 1,
        workers: 0,
    };
    Work::OnLab(shape, limit, measure)
}

/// Everything that is measured, in the table's order.
pub fn all() -> Vec<Measure> {
    starting()
        .into_iter()
        .chain(under_way())
        .chain(at_rest())
        .collect()
}

fn starting() -> Vec<Measure> {
    let writable = |bar: Option<Bar>| {
        vec![
            figure("writable", "until the primary takes writes", "s", bar),
            figure(
                "listening",
                "of it, until the last mongod listens at all",
                "s",
                None,
            ),
            figure(
                "writable_all",
                "the same, from the last agent's start",
                "s",
                None,
            ),
        ]
    };
    let bar = Some(Bar::MedianAtMost(1.5));
    vec![
        Measure {
            name: "start_3",
            what: "3 tasks running → writable primary",
            figures: writable(bar),
            work: on_five_nodes(120, |lab, sample| start::by_agent(lab, sample, 3)),
            runs: 3,
        },
        Measure {
            name: "start_5",
            what: "5 tasks running → writable primary",
            figures: writable(bar),
            work: on_five_nodes(120, |lab, sample| start::by_agent(lab, sample, 5)),
            runs: 3,
        },
        Measure {
            name: "start_by_hand",
            what: "for comparison, without agent: 3 tasks, one `replSetInitiate`",
            figures: vec![figure(
                "writable",
                "from the command until the primary takes writes",
                "s",
                None,
            )],
            work: on_five_nodes(120, start::by_hand),
            runs: 3,
        },
        Measure {
            name: "grow_3_to_5",
            what: "3→5, the last new task running → all five vote",
            figures: vec![
                figure(
                    "voting",
                    "as every member has it",
                    "s",
                    Bar::MedianAtMost(5.0),
                ),
                figure("voting_primary", "as the primary has it", "s", None),
            ],
            work: on_five_nodes(150, scale::three_to_five),
            runs: 3,
        },
    ]
}

fn under_way() -> Vec<Measure> {
    let shrink = |bar| {
        under_load(vec![figure(
            "done",
            "until two vote and the others have ended",
            "s",
            Bar::MedianAtMost(bar),
        )])
    };
    vec![
        Measure {
            name: "shrink_5_to_2",
            what: "5→2, the primary leaving, under load",
            figures: shrink(12.0),
            work: on_five_nodes(180, |lab, sample| scale::down_to_two(lab, sample, 5)),
            runs: 3,
        },
        Measure {
            name: "shrink_7_to_2",
            what: "7→2, the primary leaving, under load",
            figures: shrink(16.0),
            work: on_five_nodes(180, |lab, sample| scale::down_to_two(lab, sample, 7)),
            runs: 3,
        },
        Measure {
            name: "update_in_place",
            what: "`service update --force` of three in place, under load",
            figures: under_load(vec![figure("done", "until all is done", "s", None)]),
            work: on_one_node(240, roll_out::in_place),
            runs: 3,
        },
        Measure {
            name: "update_moves_1gb",
            what: "`service update --force`, every task moves to an empty disk, 1 GB, under load",
            figures: under_load(vec![
                figure(
                    "margin",
                    "fewest working voters, beyond a majority",
                    "",
                    Bar::AllAtLeast(0.0),
                ),
                figure("working", "fewest working voters", "", None),
                figure("done", "until all is done", "s", None),
            ]),
            work: on_five_nodes(900, roll_out::to_empty_disks),
            runs: 1,
        },
        Measure {
            name: "node_loss",
            what: "the primary's node dies, under load",
            figures: vec![
                figure("lost", "writes lost or reads wrong", "", NONE),
                figure(
                    "primary",
                    "until the new primary takes writes",
                    "s",
                    Bar::MedianAtMost(13.0),
                ),
                figure(
                    "whole",
                    "until three members on live nodes vote",
                    "s",
                    Bar::MedianAtMost(45.0),
                ),
                figure("gap", "longest time without a write", "s", None),
                figure("errors", "client errors", "", None),
            ],
            work: on_five_nodes(300, node_loss::of_the_primary),
            runs: 3,
        },
    ]
}

fn at_rest() -> Vec<Measure> {
    vec![
        Measure {
            name: "idle",
            what: "the acting agent, idle on a converged set of 5",
            figures: vec![
                figure("rss", "resident memory", "MB", Bar::MedianAtMost(20.0)),
                figure("cpu", "of one core, over 60 s", "%", Bar::MedianAtMost(0.5)),
                figure(
                    "calls",
                    "Docker API calls a minute",
                    "",
                    Bar::MedianAtMost(30.0),
                ),
            ],
            work: on_five_nodes(240, idle::agent),
            runs: 3,
        },
        Measure {
            name: "image",
            what: "the agent's image",
            figures: vec![figure("size", "archive", "MB", Bar::MedianAtMost(20.0))],
            work: Work::Alone(idle::image),
            runs: 1,
        },
        Measure {
            name: "plan",
            what: "`plan()`, nothing to do",
            figures: vec![
                figure("sets_10", "10 sets of 7", "ms", None),
                figure("sets_100", "100 sets of 7", "ms", None),
                figure(
                    "sets_1000",
                    "1,000 sets of 7",
                    "ms",
                    Bar::MedianAtMost(20.0),
                ),
                figure(
                    "growth",
                    "time for a set of 1,000 ÷ of 10",
                    "",
                    Bar::MedianAtMost(2.0),
                ),
                figure(
                    "shards_1000",
                    "one cluster of 1,000 shards of 3",
                    "ms",
                    Bar::MedianAtMost(20.0),
                ),
            ],
            work: Work::Alone(plan::nothing_to_do),
            runs: 3,
        },
    ]
}
