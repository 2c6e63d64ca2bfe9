//! The figures as a table in Markdown: medians, with the least and the most beside them.

use std::fmt;

use super::Cost;

/// Rows of one benchmark, each of some runs; the first row is what the others are compared with.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<(String, Vec<Cost>)>,
}

impl Table {
    /// Adds a run to the row of that name.
    pub fn add(&mut self, name: &str, cost: Cost) {
        match self.rows.iter_mut().find(|(known, _)| known == name) {
            Some((_, costs)) => costs.push(cost),
            None => self.rows.push((name.to_owned(), vec![cost])),
        }
    }

    /// How often a row costs what the first row costs in CPU time; the median of the rounds.
    pub fn ratio(&self, name: &str) -> Option<f64> {
        let (_, base) = self.rows.first()?;
        let (_, costs) = self.rows.iter().find(|(known, _)| known == name)?;
        let ratios = costs.iter().zip(base).map(|(cost, base)| cost.cpu_per_million() / base.cpu_per_million());
        Some(median(ratios.collect()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = self.rows.iter().flat_map(|(_, costs)| costs).any(|cost| cost.latency_ms.is_some());
        if latency {
            writeln!(f, "| | p50 ms | p99 ms | longest ms | CPU s per million |\n|---|---|---|---|---|")?;
        } else {
            writeln!(f, "| | CPU s per million | of the first row | events/s | MiB |\n|---|---|---|---|---|")?;
        }
        for (name, costs) in &self.rows {
            let of = |figure: fn(&Cost) -> f64| costs.iter().map(figure).collect::<Vec<_>>();
            let cpu = spread(of(|cost| cost.cpu_per_million()), 2);
            if latency {
                let of = |figure: fn(&super::Latency) -> f64| {
                    spread(costs.iter().filter_map(|cost| cost.latency_ms.as_ref().map(figure)).collect(), 2)
                };
                let (p50, p99, max) = (of(|latency| latency.p50), of(|latency| latency.p99), of(|latency| latency.max));
                writeln!(f, "| {name} | {p50} | {p99} | {max} | {cpu} |")?;
            } else {
                let ratio = self.ratio(name).unwrap_or(1.0);
                let (rate, memory) = (spread(of(|cost| cost.per_second()), 0), spread(of(|cost| cost.peak_rss_mib), 0));
                writeln!(f, "| {name} | {cpu} | {ratio:.2} | {rate} | {memory} |")?;
            }
        }
        Ok(())
    }
}

/// The median, and what it lies between.
fn spread(mut figures: Vec<f64>, digits: usize) -> String {
    figures.sort_unstable_by(f64::total_cmp);
    let (Some(least), Some(most)) = (figures.first().copied(), figures.last().copied()) else { return "-".to_owned() };
    format!("**{:.digits$}** ({least:.digits$} to {most:.digits$})", median(figures))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match (figures.get(middle), figures.len() % 2) {
        (Some(upper), 0) => f64::midpoint(figures[middle - 1], *upper),
        (Some(middle), _) => *middle,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(cpu_s: f64) -> Cost {
        Cost { events: 2_000_000, cpu_s, seconds: 4.0, peak_rss_mib: 50.0, latency_ms: None }
    }

    #[test]
    fn rows_show_medians_and_are_compared_with_the_first() {
        let mut table = Table::default();
        for (name, cpu) in [("loop", 4.0), ("ours", 6.0), ("loop", 2.0), ("ours", 2.0), ("loop", 3.0), ("ours", 3.0)] {
            table.add(name, cost(cpu));
        }
        assert_eq!(table.ratio("ours"), Some(1.0), "the median of 1.5, 1 and 1");
        let text = table.to_string();
        assert!(text.contains("| ours | **1.50** (1.00 to 3.00) | 1.00 | **500000** (500000 to 500000) |"), "{text}");
    }

    #[test]
    fn a_median_of_two_lies_between_them() {
        assert!((median(vec![3.0, 1.0]) - 2.0).abs() < f64::EPSILON);
    }
}
