use super::*;

fn chart() -> LineChart {
    let series = |index: usize| LineSeries {
        label: format!("DHC x{} <tanh>", index + 1),
        index,
        points: (1..=40)
            .map(|i| {
                let x = f64::from(i);
                let y = 1.4 + 3.0 / x + 0.02 * index as f64;
                LinePoint {
                    x: 20_000.0 * x,
                    y,
                    band: Some([y - 0.03, y + 0.03]),
                }
            })
            .collect(),
    };
    LineChart {
        title: "Validation loss".into(),
        x: Axis::new("tokens"),
        y: Axis {
            scale: Scale::Log,
            ..Axis::new("loss (nats per byte)")
        },
        series: (0..10).map(series).collect(),
        size: [720.0, 420.0],
    }
}

fn forest() -> Forest {
    let row = |label: &str, effect, tone, text: &str| ForestRow {
        label: label.into(),
        effect,
        text: text.into(),
        tone,
        reference: Some(-0.03),
    };
    Forest {
        title: "Difference to pre-norm".into(),
        axis: Axis::new("Δ validation loss (nats per byte), below zero is better"),
        rows: vec![
            row(
                "DHC x1",
                Some((-0.045, Some([-0.059, -0.031]))),
                "good",
                "−0.0450 [−0.0590, −0.0310]",
            ),
            row(
                "DHC x8 w/o tanh",
                Some((0.02, Some([-0.01, 0.05]))),
                "plain",
                "+0.0200 [−0.0100, +0.0500]",
            ),
            row("one seed", Some((0.06, None)), "bad", "+0.0600 (n=1)"),
            row("diverged", None, "plain", "diverged at step 13"),
        ],
        reference: Some("the paper (Table 1, V2)".into()),
        width: 720.0,
    }
}

fn scatter() -> Scatter {
    let point = |index: usize, x: f64, y: f64| ScatterPoint {
        label: format!("arm {index}"),
        index,
        x,
        y,
        interval: Some([y - 0.02, y + 0.02]),
    };
    Scatter {
        title: "Cost against gain".into(),
        x: Axis::new("extra FLOPs (%)"),
        y: Axis::new("Δ loss"),
        points: vec![
            point(0, 0.0, 0.0),
            point(1, 2.0, -0.045),
            point(2, 2.2, -0.046),
            point(3, 14.0, -0.07),
            point(4, 43.0, -0.063),
            point(5, f64::NAN, 1.0),
        ],
        size: [720.0, 380.0],
    }
}

fn pictures() -> [Picture; 3] {
    [chart().draw(), forest().draw(), scatter().draw()]
}

#[test]
fn plots_are_well_formed_and_ask_for_nothing_from_elsewhere() {
    for picture in pictures() {
        for text in [picture.to_svg(), picture.to_inline_svg()] {
            roxmltree::Document::parse(&text).expect("XML");
            let own = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!own.contains("://") && !own.contains("url("), "{text}");
            assert!(!own.contains("NaN") && !own.contains("inf"), "{text}");
        }
    }
}

#[test]
fn a_break_in_a_curve_stays_a_break() {
    let mut chart = chart();
    chart.series.truncate(1);
    let lines = |chart: &LineChart| chart.draw().to_svg().matches("class=\"line s0\"").count();
    let whole = lines(&chart);
    chart.series[0].points[20].y = f64::NAN;
    assert_eq!(lines(&chart), whole + 1);
}

#[test]
fn series_beyond_the_colours_are_dashed() {
    assert_eq!(series_class(1), "s1");
    assert_eq!(series_class(SERIES + 1), "s1 dashed");
    assert_eq!(series_class(2 * SERIES), "s0");
}

#[test]
fn a_point_that_is_nowhere_is_not_drawn() {
    let svg = scatter().draw().to_svg();
    assert!(svg.contains("arm 4") && !svg.contains("arm 5"));
}

#[test]
fn an_effect_is_drawn_on_its_side_of_zero() {
    let svg = forest().draw().to_svg();
    let zero = place_after(&svg, "class=\"zero\" d=\"M");
    let good = place_after(&svg, "class=\"good\" d=\"M");
    let bad = place_after(&svg, "class=\"bad\" d=\"M");
    assert!(good < zero && zero < bad, "{good} {zero} {bad}");
}

fn place_after(svg: &str, start: &str) -> f64 {
    let (_, rest) = svg.split_once(start).expect("it is drawn");
    let (x, _) = rest.split_once(',').expect("a place");
    x.parse().expect("a number")
}

#[cfg(not(feature = "png-plots"))]
#[test]
fn without_the_feature_png_says_how_to_get_it() {
    let error = chart().draw().to_png(2.0).expect_err("not built in");
    assert!(
        error.to_string().contains("--features png-plots"),
        "{error}"
    );
}

#[cfg(feature = "png-plots")]
#[test]
fn a_png_has_letters_and_colours_without_fonts_of_the_machine() {
    let file = forest().draw().to_png(1.0).expect("a small picture");
    let decoder = ::png::Decoder::new(std::io::Cursor::new(file));
    let mut reader = decoder.read_info().expect("a PNG file");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
    let info = reader.next_frame(&mut pixels).expect("an image");
    assert_eq!(info.width, 720);
    let pixel = |x: u32, y: u32| &pixels[4 * (y * info.width + x) as usize..][..3];
    assert_eq!(pixel(719, 0), [255; 3]);
    // The label of the last row is all that is drawn in its corner.
    let dark = (12..70)
        .flat_map(|x| (160..176).map(move |y| (x, y)))
        .filter(|&(x, y)| pixel(x, y)[0] < 128);
    assert!(dark.count() > 50);
    let green = pixels
        .chunks(4)
        .any(|p| p[1] > p[0].saturating_add(60) && p[1] > p[2]);
    assert!(green);
}
