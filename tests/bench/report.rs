//! The table: a line for each figure, with its bar and whether it was met.

use crate::measure::{Bar, Figure, Measure};
use crate::runner::Results;

/// What is said in the end.
pub struct Report {
    /// Markdown.
    pub table: String,
    /// Every figure that misses its bar, or could not be measured.
    pub unmet: Vec<String>,
}

impl Report {
    /// Puts the results together.
    pub fn of(measures: &[Measure], results: &[Results]) -> Self {
        let mut lines = vec![
            "| what | bar | median (min–max) | met |".to_owned(),
            "|---|---|---|---|".to_owned(),
        ];
        let mut unmet = Vec::new();
        for (measure, results) in measures.iter().zip(results) {
            for figure in &measure.figures {
                let what = format!("{}: {}", measure.what, figure.words);
                let (shown, met) = judge(figure, results);
                let bar = figure
                    .bar
                    .map_or("–".into(), |bar| in_words(bar, figure.unit));
                let mark = match met {
                    Some(true) => "met",
                    Some(false) => "**not met**",
                    None => "–",
                };
                lines.push(format!("| {what} | {bar} | {shown} | {mark} |"));
                if met == Some(false) {
                    unmet.push(format!("{}: {} {shown}", measure.name, figure.key));
                }
            }
        }
        let table = lines.join("\n");
        Self { table, unmet }
    }
}

/// The figure's values as the table shows them, and whether they meet the bar. A run that failed meets none.
fn judge(figure: &Figure, results: &Results) -> (String, Option<bool>) {
    let mut values: Vec<f64> = results
        .iter()
        .filter_map(|result| result.as_ref().ok()?.values.get(figure.key).copied())
        .collect();
    values.sort_by(f64::total_cmp);
    let failed = results.iter().filter(|result| result.is_err()).count();
    let complete = failed == 0 && values.len() == results.len();
    let (Some(least), Some(most)) = (values.first(), values.last()) else {
        let unknown = if failed > 0 { "failed" } else { "not measured" };
        return (unknown.into(), figure.bar.map(|_| false));
    };
    let middle = median(&values);
    let meets = |bar| match bar {
        Bar::MedianAtMost(limit) => middle <= limit,
        Bar::AllAtMost(limit) => *most <= limit,
        Bar::AllAtLeast(limit) => *least >= limit,
    };
    let mut shown = with_unit(middle, figure.unit);
    if rounded(*least) != rounded(*most) {
        shown += &format!(" ({}–{})", rounded(*least), rounded(*most));
    }
    if failed > 0 {
        shown += &format!(", {failed} of {} runs failed", results.len());
    }
    (shown, figure.bar.map(|bar| complete && meets(bar)))
}

/// The middle value of sorted ones, or the mean of the two in the middle.
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted {
        [] => f64::NAN,
        _ if sorted.len() % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

fn in_words(bar: Bar, unit: &str) -> String {
    match bar {
        Bar::MedianAtMost(limit) => format!("≤ {}", with_unit(limit, unit)),
        Bar::AllAtMost(0.0) => with_unit(0.0, unit),
        Bar::AllAtMost(limit) => format!("≤ {}, each run", with_unit(limit, unit)),
        Bar::AllAtLeast(limit) => format!("≥ {}, each run", with_unit(limit, unit)),
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    format!("{} {unit}", rounded(value)).trim_end().to_owned()
}

/// Three digits where there is a fraction.
fn rounded(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value.abs() < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}
