use super::*;
use crate::ablation::ABLATIONS;

fn read(text: &str) -> SweepFile {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    let file: Result<SweepFile, _> = text.parse();
    file.expect_err("it makes no sense").to_string()
}

const GRID: &str = r#"
seeds = 3
[grid]
train.learning_rate = [1e-3, 3e-3]
model.connection = [{ type = "pre_norm" }, { type = "hyper", rate = 2 }]
"#;

fn names(file: &SweepFile) -> Vec<(&str, Option<&str>)> {
    let arms = file.arms.iter();
    arms.map(|arm| (arm.name.as_str(), arm.baseline.as_deref()))
        .collect()
}

#[test]
fn every_combination_of_the_axes_is_an_arm() {
    let file = read(GRID);
    assert_eq!(file.seeds.as_deref(), Some(&[0, 1, 2][..]));
    let arms = [
        "pre-norm_learning_rate-0.001",
        "pre-norm_learning_rate-0.003",
        "dhc-x2_learning_rate-0.001",
        "dhc-x2_learning_rate-0.003",
    ];
    assert_eq!(names(&file), arms.map(|name| (name, None)));
    assert_eq!(file.arms[2].label, "DHC x2, learning_rate 0.001");
    let train = file.arms[3].settings["train"]
        .as_table()
        .expect("a section");
    assert_eq!(train["learning_rate"].as_float(), Some(3e-3));
}

#[test]
fn a_baseline_is_an_arm_or_the_values_of_an_axis() {
    let named = read(&format!(
        "baseline = \"dhc-x2_learning_rate-0.001\"\n{GRID}"
    ));
    assert_eq!(named.arms[0].name, "dhc-x2_learning_rate-0.001");
    let of = |arm: &Arm| arm.baseline.as_deref() == Some("dhc-x2_learning_rate-0.001");
    assert!(named.arms[1..].iter().all(of), "{:?}", names(&named));

    let file = read(&format!(
        "baseline = {{ model.connection = {{ type = \"pre_norm\" }} }}\n{GRID}"
    ));
    assert_eq!(
        names(&file),
        [
            ("pre-norm_learning_rate-0.001", None),
            ("pre-norm_learning_rate-0.003", None),
            (
                "dhc-x2_learning_rate-0.001",
                Some("pre-norm_learning_rate-0.001")
            ),
            (
                "dhc-x2_learning_rate-0.003",
                Some("pre-norm_learning_rate-0.003")
            ),
        ]
    );
}

#[test]
fn arms_can_be_written_down_one_by_one() {
    let file = read(
        r#"
        baseline = "usual"
        set = { "train.steps" = 40 }
        [[arm]]
        name = "long"
        set = { train.steps = 80 }
        [[arm]]
        name = "usual"
        "#,
    );
    assert_eq!(names(&file), [("usual", None), ("long", Some("usual"))]);
    let steps = |table: &Table| table["train"]["steps"].as_integer();
    assert_eq!(steps(&file.common), Some(40));
    assert_eq!(steps(&file.arms[1].settings), Some(80));
}

#[test]
fn mistakes_are_named_with_the_nearest_key() {
    for (text, said) in [
        ("[gird]", "a sweep has no key gird: did you mean grid?"),
        ("seeds = 3", "neither a grid nor an arm"),
        (
            "[grid]\ntrain.steps = 5",
            "grid.train.steps: expected a list",
        ),
        ("[grid]\ntrain.seed = [1, 2]", "seeds are no axis"),
        ("[grid]\ntrain = [{ seed = 1 }]", "seeds are no axis"),
        (
            "[set]\ntrain.seed = 1\n[[arm]]\nname = \"x\"",
            "train.seed: seeds are no axis",
        ),
        (
            "[[arm]]\nname = \"x\"\nset = { train.seed = 1 }",
            "train.seed: seeds are no axis",
        ),
        (
            "seeds = \"all\"\n[grid]\ntrain.steps = [5]",
            "seeds: expected a number",
        ),
        (
            "seeds = [3, 3]\n[grid]\ntrain.steps = [5]",
            "seeds: seed 3 is given twice",
        ),
        (
            "seeds = -1\n[grid]\ntrain.steps = [5]",
            "seeds: expected a number",
        ),
        ("[[arm]]\nlabel = \"x\"", "every arm needs a name"),
        ("[[arm]]\nnmae = \"x\"", "arm.nmae: did you mean name?"),
        ("grid = 3", "expected a section [grid]"),
        ("[grid\n", "not TOML at line 1"),
        (
            "baseline = \"steps-55\"\n[grid]\ntrain.steps = [5]",
            "there is no arm steps-55: did you mean steps-5?",
        ),
        (
            "baseline = { train.step = 5 }\n[grid]\ntrain.steps = [5]",
            "baseline.train.step: did you mean train.steps?",
        ),
        (
            "baseline = { train.steps = 6 }\n[grid]\ntrain.steps = [5]",
            "6 is none of the values",
        ),
        (
            "[grid]\ntrain.steps = [5, 5]",
            "two arms with the name steps-5",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(said), "{text:?}: {error}");
    }
}

#[test]
fn the_example_of_the_documentation_is_a_sweep() {
    let page = include_str!("../../../../../docs/experiments.md");
    let (_, example) = page.split_once("```toml\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let file = read(example);
    assert_eq!(file.arms.len(), 4);
    assert_eq!(file.arms.iter().filter(|arm| arm.is_baseline()).count(), 2);
}

#[test]
fn a_grid_of_more_arms_than_anyone_reads_is_refused_before_it_is_made() {
    let forty: Vec<String> = (1..=40).map(|i| i.to_string()).collect();
    let axis = |key: &str| format!("{key} = [{}]\n", forty.join(", "));
    let keys = [
        "steps",
        "warmup",
        "batch",
        "shards",
        "eval_every",
        "log_every",
    ];
    let six: String = keys.map(|key| axis(&format!("train.{key}"))).concat();
    let said = refused(&format!("[grid]\n{six}"));
    assert!(said.contains("4096000000 arms, expected at most"), "{said}");
    let many: String = (0..30).map(|i| axis(&format!("a.k{i}"))).collect();
    let said = refused(&format!("[grid]\n{many}"));
    assert!(said.contains("more arms than can be counted"), "{said}");
    let single: String = (0..1000).map(|i| format!("a.k{i} = [1]\n")).collect();
    let said = refused(&format!("[grid]\n{single}"));
    assert!(said.contains("1000 settings"), "{said}");
    let arms: String = (0..6000)
        .map(|i| format!("[[arm]]\nname = \"a{i}\"\n"))
        .collect();
    let said = refused(&arms);
    assert!(said.contains("6000 arms"), "{said}");
}

#[test]
fn axes_that_set_the_same_thing_are_refused() {
    for grid in [
        "train = [{ steps = 3 }]\n\"train.steps\" = [1, 2]\n",
        "\"train.steps\" = [1, 2]\ntrain = { steps = [3] }\n",
        "\"train.steps\" = [1]\n\"train\" = [1]\n",
    ] {
        let said = refused(&format!("[grid]\n{grid}"));
        assert!(said.contains("gives it values too"), "{grid}: {said}");
    }
}

#[test]
fn a_key_without_end_is_refused() {
    let key = ["a"; 100_000].join(".");
    for section in ["grid", "set"] {
        let said = refused(&format!(
            "[{section}]\n\"{key}\" = [1]\n[[arm]]\nname = \"a\"\n"
        ));
        assert!(said.contains("100000 parts"), "{section}");
    }
}

#[test]
fn a_connection_names_its_arm_and_a_template_may_add_to_it() {
    let file = read(
        r#"
        baseline = "pre-norm"
        tanh = "both"
        paper = "Table 3"
        [[arm]]
        connection = { type = "pre_norm" }
        [[arm]]
        name = "{connection}-b"
        label = "{connection} frozen"
        paper = "{connection}, frozen B"
        connection = { type = "hyper", rate = 4, frozen = ["write"] }
        [[arm]]
        connection = { type = "hyper", rate = 4 }
        matched = true
        [[arm]]
        connection = { type = "mhc", rate = 2 }
        "#,
    );
    let seen: Vec<(&str, &str, Option<&str>, bool)> = (file.arms.iter())
        .map(|arm| {
            let paper = arm.paper.as_ref().map(|row| &*row.method);
            (&*arm.name, &*arm.label, paper, arm.matched)
        })
        .collect();
    let dhc = "DHC×4 w/o tanh";
    let frozen = "DHC×4 w/o tanh, frozen B";
    assert_eq!(
        seen,
        [
            ("pre-norm", "pre-norm", None, false),
            (
                "dhc-x4-no-tanh-b",
                "DHC x4 w/o tanh frozen",
                Some(frozen),
                false
            ),
            ("dhc-x4-no-tanh", "DHC x4 w/o tanh", Some(dhc), true),
            ("dhc-x4-b", "DHC x4 frozen", Some("DHC×4, frozen B"), false),
            ("dhc-x4", "DHC x4", Some("DHC×4"), true),
            ("mhc", "mHC x2", None, false),
        ]
    );
}

#[test]
fn a_sweep_can_bring_a_table_of_its_own() {
    let file = read(
        r#"
        [paper]
        place = "Table 9 of somebody"
        scale = "a large network"
        quantity = "loss"
        about = "nats"
        columns = ["test"]
        baseline = "none"
        row = [{ method = "none", test = 2.5 }, { method = "DHC×2", test = 2 }]
        [[arm]]
        connection = { type = "hyper", rate = 2 }
        "#,
    );
    let row = file.arms[0].paper.as_ref().expect("a row");
    assert_eq!(row.deltas, [-0.5]);
}

#[test]
fn mistakes_in_what_built_in_tables_use_are_named_too() {
    let arm = "[[arm]]\nname = \"x\"\n";
    let hyper = "[[arm]]\nconnection = { type = \"hyper\" }\n";
    for (text, said) in [
        (
            format!("paper = \"Table 5\"\n{arm}"),
            "paper: there is no table Table 5: expected one of Table 1,",
        ),
        (
            format!("paper = 5\n{arm}"),
            "paper: expected the name of a table",
        ),
        (
            format!("{arm}[paper]\nplace = \"here\""),
            "paper: scale: it is missing",
        ),
        (
            format!("{arm}paper = \"DHC×4\""),
            "arm.paper: the sweep names no table",
        ),
        (
            format!("paper = \"Table 1\"\n{arm}paper = \"DHC×5\""),
            "arm.paper: Table 1 has no row DHC×5: did you mean DHC×",
        ),
        (
            format!("tanh = \"maybe\"\n{arm}"),
            "tanh: expected on, off or both",
        ),
        (
            format!("{arm}matched = true"),
            "arm.matched: arm x has no baseline",
        ),
        (
            format!("{arm}matched = 1"),
            "matched: expected true or false",
        ),
        (
            format!("{arm}connection = 5"),
            "arm.connection: expected a section",
        ),
        (
            format!("{arm}connection = {{ type = \"hipper\" }}"),
            "arm.connection: model.connection.type: expected",
        ),
        (
            format!("{arm}connection = {{ type = \"hyper\", rat = 2 }}"),
            "did you mean model.connection.rate?",
        ),
        (
            format!("{hyper}set = {{ model = 5 }}"),
            "arm.connection: set gives the arm another",
        ),
        (
            format!("{hyper}set.model.connection.rate = 5"),
            "arm.connection: set gives the arm another",
        ),
        (format!("{hyper}{hyper}"), "two arms with the name dhc-x4"),
        (
            "[[arm]]\nconnection = \"all\"\n".repeat(1000),
            "arms, expected at most 5000",
        ),
    ] {
        let error = refused(&text);
        assert!(error.contains(said), "{text:?}: {error}");
    }
}

#[test]
fn every_built_in_table_is_a_file_of_a_user() {
    let folder = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let files = |name: &str| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(folder(name)).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    for path in files("ablations") {
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a name");
        let known = ABLATIONS
            .iter()
            .find(|known| known.name == format!("ablation-{name}"));
        let known = known.unwrap_or_else(|| panic!("{name} is not in ABLATIONS"));
        let file = SweepFile::read(&path).expect("it is read as a user's");
        assert_eq!(file.arms, known.arms(Tanh::On), "{name}");
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.starts_with("# "), "{name} says what it compares");
    }
    assert_eq!(files("presets").len(), crate::preset::PRESETS.len());
    assert_eq!(files("paper").len(), PAPER_TABLES.len());
}

#[test]
fn contrasts_are_of_the_arms_that_tanh_leaves() {
    let rate = ABLATIONS.iter().find(|one| one.name == "ablation-rate");
    let rate = rate.expect("it is built in");
    let declared = |tanh| rate.contrasts(tanh).len();
    assert_eq!([Tanh::On, Tanh::Off, Tanh::Both].map(declared), [6, 0, 7]);
    // An arm that no choice of tanh has is a mistake.
    let text = "[[arm]]\nconnection = { type = \"hyper\", rate = 2 }\n[[contrast]]\n\
        statement = \"so\"\nexpect = \"lower\"\narm = \"dhc-x2\"\nagainst = \"dhc-x22\"";
    let error = SweepFile::parse(text, Some(Tanh::Off)).expect_err("no such arm");
    let said = "contrast 1, arms: there is no arm dhc-x22: did you mean dhc-x2?";
    assert_eq!(error.to_string(), said);
    let known = text.replace("dhc-x22", "dhc-x2-no-tanh");
    let read = |tanh| {
        SweepFile::parse(&known, Some(tanh))
            .expect("two arms")
            .contrasts
    };
    assert_eq!((read(Tanh::On).len(), read(Tanh::Both).len()), (0, 1));
}
