//! A Markdown table of figures: medians, with minimum and maximum.

use std::fmt;

use super::Cost;

/// The title and precision of a column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its title, with the unit.
    pub title: &'static str,
    /// Digits after the decimal point.
    pub digits: usize,
}

/// The rows of one benchmark, each with several runs.
#[derive(Debug)]
pub struct Table {
    columns: &'static [Column],
    /// Whether the first column is also shown as a ratio to the first row.
    is_compared: bool,
    rows: Vec<(String, Vec<Vec<f64>>)>,
}

impl Table {
    /// Creates a table with these columns.
    pub fn new(columns: &'static [Column]) -> Self {
        Self { columns, is_compared: false, rows: Vec::new() }
    }

    /// Creates a table for [`Cost::figures`]; all rows are compared with the first.
    pub fn of_costs() -> Self {
        const COLUMNS: [Column; 3] = [
            Column { title: "CPU s per million", digits: 2 },
            Column { title: "events/s", digits: 0 },
            Column { title: "MiB", digits: 0 },
        ];
        Self { is_compared: true, ..Self::new(&COLUMNS) }
    }

    /// Creates a table for [`Cost::latencies`].
    pub fn of_latencies() -> Self {
        const COLUMNS: [Column; 4] = [
            Column { title: "p50 ms", digits: 2 },
            Column { title: "p99 ms", digits: 2 },
            Column { title: "longest ms", digits: 2 },
            Column { title: "CPU s per million", digits: 2 },
        ];
        Self::new(&COLUMNS)
    }

    /// Adds a run, with a figure for each column, to the row of that name.
    pub fn add(&mut self, name: &str, figures: Vec<f64>) {
        assert_eq!(figures.len(), self.columns.len(), "{name}: a figure for each column");
        match self.rows.iter_mut().find(|(known, _)| known == name) {
            Some((_, runs)) => runs.push(figures),
            None => self.rows.push((name.to_owned(), vec![figures])),
        }
    }

    /// The ratio of a row's first figure to that of the first row; the median of the rounds.
    pub fn ratio(&self, name: &str) -> Option<f64> {
        let (_, base) = self.rows.first()?;
        let (_, runs) = self.rows.iter().find(|(known, _)| known == name)?;
        Some(median(runs.iter().zip(base).map(|(run, base)| run[0] / base[0]).collect()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut titles: Vec<&str> = self.columns.iter().map(|column| column.title).collect();
        if self.is_compared {
            titles.insert(1, "of the first row");
        }
        writeln!(f, "| | {} |\n|{}", titles.join(" | "), "---|".repeat(titles.len() + 1))?;
        for (name, runs) in &self.rows {
            let of = |place: usize| runs.iter().map(|run| run[place]).collect();
            let mut figures: Vec<String> =
                self.columns.iter().enumerate().map(|(place, column)| spread(of(place), column.digits)).collect();
            if self.is_compared {
                figures.insert(1, format!("{:.2}", self.ratio(name).unwrap_or(1.0)));
            }
            writeln!(f, "| {name} | {} |", figures.join(" | "))?;
        }
        Ok(())
    }
}

impl Cost {
    /// The figures for [`Table::of_costs`].
    pub fn figures(self) -> Vec<f64> {
        vec![self.cpu_per_million(), self.per_second(), self.peak_rss_mib]
    }

    /// The figures for [`Table::of_latencies`]. Panics if no latency was measured.
    pub fn latencies(self) -> Vec<f64> {
        let latency = self.latency_ms.expect("latency was measured");
        vec![latency.p50, latency.p99, latency.max, self.cpu_per_million()]
    }
}

/// The median with minimum and maximum; a single figure is shown alone.
fn spread(mut figures: Vec<f64>, digits: usize) -> String {
    figures.sort_unstable_by(f64::total_cmp);
    match figures[..] {
        [] => "-".to_owned(),
        [only] => format!("**{only:.digits$}**"),
        [least, .., most] => format!("**{:.digits$}** ({least:.digits$} to {most:.digits$})", median(figures)),
    }
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

    fn figures(cpu_s: f64) -> Vec<f64> {
        let (latency_ms, start_ms) = (None, None);
        Cost { events: 2_000_000, cpu_s, seconds: 4.0, peak_rss_mib: 50.0, latency_ms, start_ms }.figures()
    }

    #[test]
    fn rows_show_medians_and_are_compared_with_the_first() {
        let mut table = Table::of_costs();
        for (name, cpu) in [("loop", 4.0), ("ours", 6.0), ("loop", 2.0), ("ours", 2.0), ("loop", 3.0), ("ours", 3.0)] {
            table.add(name, figures(cpu));
        }
        assert_eq!(table.ratio("ours"), Some(1.0), "the median of 1.5, 1 and 1");
        let text = table.to_string();
        assert!(text.contains("| ours | **1.50** (1.00 to 3.00) | 1.00 | **500000** (500000 to 500000) |"), "{text}");
    }

    #[test]
    fn a_table_has_as_many_columns_as_its_figures() {
        const COLUMNS: [Column; 2] = [Column { title: "ms", digits: 1 }, Column { title: "MiB", digits: 0 }];
        let mut table = Table::new(&COLUMNS);
        table.add("once", vec![1.25, 30.0]);
        assert_eq!(table.to_string(), "| | ms | MiB |\n|---|---|---|\n| once | **1.2** | **30** |\n");
    }

    #[test]
    fn a_median_of_two_lies_between_them() {
        assert!((median(vec![3.0, 1.0]) - 2.0).abs() < f64::EPSILON);
    }
}
