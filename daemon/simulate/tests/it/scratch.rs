//! Scratch.
#[test]
fn scratch() {
    let Some(dir) = std::env::var_os("TRACES") else {
        return;
    };
    for name in ["tau-airline", "hotpotqa", "chess"] {
        let path = std::path::Path::new(&dir).join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(path).unwrap();
        let episodes = forerun_simulate::trace::parse(&text).unwrap();
        use forerun_simulate::predict::{Split, tables};
        for split in [
            Split::Tasks,
            Split::Folds { parts: 5, seed: 1 },
            Split::Order,
        ] {
            let start = std::time::Instant::now();
            let [a, b] = tables(&episodes, split);
            println!(
                "{split:?} {:?}\n{}\n{}",
                start.elapsed(),
                a.markdown(),
                b.markdown()
            );
        }
    }
}
