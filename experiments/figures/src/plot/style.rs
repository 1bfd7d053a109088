//! Colours and letters.

/// How many colours there are for series; later ones have the same colours, dashed.
pub const SERIES: usize = 8;

/// The style sheet of every plot. The colours of the series are those of M. Okabe and K. Ito,
/// "Color universal design" (2008), made darker on white and lighter on dark until each has a
/// contrast of 3 to 1 with the ground; the first, grey, is for a baseline.
pub const STYLE: &str = "\
.plot text{font-family:system-ui,'DejaVu Sans',sans-serif;font-size:12px;fill:#333}
.plot .heading{font-size:14px;font-weight:600;fill:#111}
.plot .end{text-anchor:end}.plot .middle{text-anchor:middle}
.plot .faint{fill:#666}.plot .number{font-variant-numeric:tabular-nums}
.plot .ground{fill:#fff}.plot .grid{stroke:#e3e3e3;stroke-width:1;fill:none}
.plot .axis{stroke:#888;stroke-width:1;fill:none}
.plot .zero{stroke:#555;stroke-width:1.2;fill:none}
.plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.plot .whisker{fill:none;stroke-width:1.6}
.plot .band{fill-opacity:.16;stroke:none}
.plot .hollow{fill:none;stroke-width:1.5}
.plot .dashed{stroke-dasharray:6 3}
.plot .s0{stroke:#666;fill:#666}.plot .s1{stroke:#0072b2;fill:#0072b2}
.plot .s2{stroke:#c24e00;fill:#c24e00}.plot .s3{stroke:#00805e;fill:#00805e}
.plot .s4{stroke:#b0508c;fill:#b0508c}.plot .s5{stroke:#a07400;fill:#a07400}
.plot .s6{stroke:#5b4fc0;fill:#5b4fc0}.plot .s7{stroke:#7c3a1d;fill:#7c3a1d}
.plot .good{stroke:#00805e;fill:#00805e}.plot .bad{stroke:#c24e00;fill:#c24e00}
.plot .plain{stroke:#666;fill:#666}
.plot .dark-ink{fill:#111}.plot .light-ink{fill:#fff}
.plot .band{stroke:none}.plot .line,.plot .whisker,.plot .hollow{fill:none}
@media (prefers-color-scheme:dark){
.plot text{fill:#ccc}.plot .heading{fill:#eee}.plot .faint{fill:#999}
.plot .ground{fill:#16181c}.plot .grid{stroke:#2c2f36}.plot .axis{stroke:#777}
.plot .zero{stroke:#aaa}.plot .band{fill-opacity:.22}
.plot .s0{stroke:#aaa;fill:#aaa}.plot .s1{stroke:#56b4e9;fill:#56b4e9}
.plot .s2{stroke:#ff8c42;fill:#ff8c42}.plot .s3{stroke:#2cc295;fill:#2cc295}
.plot .s4{stroke:#e39bc9;fill:#e39bc9}.plot .s5{stroke:#e6b422;fill:#e6b422}
.plot .s6{stroke:#a59bff;fill:#a59bff}.plot .s7{stroke:#d9a27e;fill:#d9a27e}
.plot .good{stroke:#2cc295;fill:#2cc295}.plot .bad{stroke:#ff8c42;fill:#ff8c42}
.plot .plain{stroke:#aaa;fill:#aaa}
.plot .band{stroke:none}.plot .line,.plot .whisker,.plot .hollow{fill:none}
}
";

/// The classes of the series at `index`.
pub fn series_class(index: usize) -> String {
    let dashed = if index / SERIES % 2 == 1 {
        " dashed"
    } else {
        ""
    };
    format!("s{}{dashed}", index % SERIES)
}
