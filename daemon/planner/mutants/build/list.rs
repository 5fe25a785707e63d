//! The mutants: what each of them does wrong, and the edits that make it.

/// A planner with a fault.
pub(crate) struct Mutant {
    /// The name of its module.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) does: &'static str,
    pub(crate) edits: &'static [Edit],
}

/// One replacement in a file of the planner.
pub(crate) struct Edit {
    pub(crate) file: &'static str,
    /// Is in the file exactly once.
    pub(crate) replace: &'static str,
    /// `MUTATED` is whether it is this mutant's turn; if not, it does what it replaces.
    pub(crate) by: &'static str,
}

const fn edit(file: &'static str, replace: &'static str, by: &'static str) -> Edit {
    Edit { file, replace, by }
}

const fn mutant(name: &'static str, does: &'static str, edits: &'static [Edit]) -> Mutant {
    Mutant { name, does, edits }
}

/// All of them, in the order of the rules that they break.
pub(crate) const MUTANTS: &[Mutant] = &[
    // Rules 1 and 3.
    mutant(
        "one_step_too_far",
        "starts step i before step i-k is decided: k+1 target calls in flight",
        &[edit(
            "window.rs",
            "if step.0.saturating_sub(lowest.0) >= depth {",
            "if step.0.saturating_sub(lowest.0) >= depth + u32::from(MUTATED) {",
        )],
    ),
    mutant(
        "more_than_the_target_takes",
        "has more target calls in flight than the target agent said it takes",
        &[edit(
            "agents.rs",
            "in_flight < allowed && now",
            "in_flight < allowed + u32::from(MUTATED) && now",
        )],
    ),
    // Rule 4.
    mutant(
        "siblings_stay",
        "4a: does not squash the siblings of the candidate that matches",
        &[edit(
            "machine/rules.rs",
            "self.ledger.squash_siblings(slot, MISMATCH);",
            "if !MUTATED { self.ledger.squash_siblings(slot, MISMATCH); }",
        )],
    ),
    mutant(
        "what_is_below_stays",
        "4b: keeps what is below a candidate that is not the verdict",
        &[edit(
            "machine/rules.rs",
            "self.drop_below(position, MISMATCH);",
            "if !MUTATED { self.drop_below(position, MISMATCH); }",
        )],
    ),
    mutant(
        "the_approximation_is_always_right",
        "4b: takes the first candidate for the verdict, whatever it is",
        &[edit(
            "tree.rs",
            "let equal = |node: &&Node| node.candidate == *verdict;",
            "let equal = |node: &&Node| MUTATED || node.candidate == *verdict;",
        )],
    ),
    mutant(
        "waits_for_the_approximation",
        "4c: does not decide before A has answered, too",
        &[
            edit(
                "machine.rs",
                "if slot.approximation.call.in_flight() {\n",
                "if !MUTATED && slot.approximation.call.in_flight() {\n",
            ),
            edit(
                "tree.rs",
                "let answer = self.answer.filter(|_| self.claim",
                "let asked = MUTATED && self.approximation.call.in_flight();
                let answer = self.answer.filter(|_| !asked).filter(|_| self.claim",
            ),
        ],
    ),
    // Matching.
    mutant(
        "exact_is_fuzzy",
        "takes what the edge calls near for the verdict, whatever the matcher is",
        &[edit(
            "machine/comparison.rs",
            "Matcher::Fuzzy { .. } if near.contains(&candidate.action) => Likeness::Yes,",
            "Matcher::Fuzzy { .. } if near.contains(&candidate.action) => Likeness::Yes,
            _ if MUTATED && near.contains(&candidate.action) => Likeness::Yes,",
        )],
    ),
    mutant(
        "lossy_before_exact",
        "passes over a candidate that is equal to the verdict for one that the matcher takes for it",
        &[edit(
            "tree.rs",
            "if let Some(node) = found {\n",
            "let alike_first = self.candidates().any(|node| node.likeness == Likeness::Yes);
            if let Some(node) = found.filter(|_| !MUTATED || !alike_first) {\n",
        )],
    ),
    mutant(
        "the_verdict_is_written_down",
        "writes the verdict's action down, and not the one that was executed",
        &[edit(
            "machine/rules.rs",
            "node.candidate = node.candidate.meant_by(candidate);",
            "node.candidate = if MUTATED { candidate } else { node.candidate.meant_by(candidate) };",
        )],
    ),
    mutant(
        "the_first_end_is_written_down",
        "7: keeps the answer of the candidate when a `terminate` matches by name",
        &[edit(
            "input.rs",
            "ActionKind::Terminate => verdict,",
            "ActionKind::Terminate if !MUTATED => verdict,
            ActionKind::Terminate => self,",
        )],
    ),
    mutant(
        "accepting_is_fuzzy",
        "takes what the matcher says of T's answer for what it says of an accepted candidate",
        &[edit(
            "machine/comparison.rs",
            "candidates.for_each(|node| self.ledger.forget_likeness(node));
        }
    }
",
            "candidates.for_each(|node| if !MUTATED { self.ledger.forget_likeness(node) });
        }
    }
",
        )],
    ),
    mutant(
        "same_before_both_have_run",
        "effect: takes a candidate for the verdict as soon as it has run itself",
        &[edit(
            "machine/comparison.rs",
            "own.and_then(|own| own.did_as(node))",
            "own.and_then(|own| own.did_as(node))
                    .or((MUTATED && node.is_executed()).then_some(true))",
        )],
    ),
    mutant(
        "only_what_was_seen_is_compared",
        "effect: takes equal observations for the same, whatever was changed",
        &[edit(
            "tree.rs",
            "&& one.changes == two.changes",
            "&& (MUTATED || one.changes == two.changes)",
        )],
    ),
    mutant(
        "only_what_was_changed_is_compared",
        "effect: takes equal changes for the same, whatever was seen",
        &[edit(
            "tree.rs",
            "Some(one.observation == two.observation && ",
            "Some((MUTATED || one.observation == two.observation) && ",
        )],
    ),
    mutant(
        "what_is_parked_is_waited_for",
        "effect: waits for what waits for its verdict",
        &[edit(
            "tree.rs",
            "Run::Executing { gate, .. } => gate == Gate::Shut,",
            "Run::Executing { gate, .. } => MUTATED || gate == Gate::Shut,",
        )],
    ),
    mutant(
        "what_is_parked_is_the_same",
        "effect: takes what is parked for the verdict if that is parked, too",
        &[
            edit(
                "machine/comparison.rs",
                "|| !node.is_comparable() {",
                "|| !MUTATED && !node.is_comparable() {",
            ),
            edit(
                "tree.rs",
                "if !self.is_comparable() || !other.is_comparable() {\n            return Some(false);",
                "if !self.is_comparable() || !other.is_comparable() {
            return Some(MUTATED && !self.is_comparable() && !other.is_comparable());",
            ),
        ],
    ),
    mutant(
        "the_other_execution_is_kept",
        "effect: does not drop the verdict's own node when a candidate is the same",
        &[edit(
            "machine/rules.rs",
            "self.ledger.squash_rival(slot, ALIKE);",
            "if !MUTATED { self.ledger.squash_rival(slot, ALIKE); }",
        )],
    ),
    mutant(
        "compared_with_an_old_verdict",
        "effect: compares candidates with what an earlier verdict did",
        &[
            edit(
                "machine/rules.rs",
                "if rival.is_some_and(|rival| !rival.candidate.matches(&candidate)) {",
                "if !MUTATED && rival.is_some_and(|rival| !rival.candidate.matches(&candidate)) {",
            ),
            edit(
                "machine/comparison.rs",
                ".filter(|node| node.candidate.matches(&verdict));",
                ".filter(|node| MUTATED || node.candidate.matches(&verdict));",
            ),
        ],
    ),
    mutant(
        "retires_what_is_to_be_replaced",
        "retires or releases a step while what the user wants in its place is compared with it",
        &[
            edit(
                "machine/rules.rs",
                "&& slot.user.is_none()\n            && !slot.retiring;",
                "&& (MUTATED || slot.user.is_none())
            && !slot.retiring;",
            ),
            edit(
                "clockwork.rs",
                "if slot.claim.is_some() || slot.user.is_some() || until > now {",
                "if slot.claim.is_some() || slot.user.is_some() && !MUTATED || until > now {",
            ),
        ],
    ),
    mutant(
        "decides_what_is_open",
        "decides a step while it is not known which candidate its verdict means",
        &[edit(
            "machine/rules.rs",
            "slot.verdict().filter(|_| !slot.is_open())",
            "slot.verdict().filter(|_| MUTATED || !slot.is_open())",
        )],
    ),
    mutant(
        "a_judge_that_fails_says_yes",
        "judge: takes all candidates of a call that failed for the verdict",
        &[edit(
            "machine/comparison.rs",
            "if same.contains(&node.id) {",
            "if same.contains(&node.id) || MUTATED && end == AskEnd::Failed {",
        )],
    ),
    mutant(
        "no_judge_says_yes",
        "judge: takes a candidate for the verdict when there is nobody to judge",
        &[edit(
            "machine/comparison.rs",
            "                Some(false)
            } else {",
            "                Some(MUTATED && judged)
            } else {",
        )],
    ),
    mutant(
        "a_late_judgement_counts",
        "judge: does not forget who was asked about when the verdict is another one",
        &[edit(
            "machine/comparison.rs",
            "            self.ledger.forget_likeness(node);
            node.likeness = likeness(",
            "            if MUTATED && matches!(node.likeness, Likeness::Asked(_)) { continue; }
            self.ledger.forget_likeness(node);
            node.likeness = likeness(",
        )],
    ),
    mutant(
        "postponed_for_ever",
        "judge: waits for as many steps as it may judge at once, even if no more can come",
        &[edit(
            "machine/comparison.rs",
            "waiting.len() < steps && others_come",
            "waiting.len() < steps && (MUTATED || others_come)",
        )],
    ),
    mutant(
        "judges_more_at_once",
        "judge: asks about more steps at once than was wanted",
        &[edit(
            "machine/comparison.rs",
            "&waiting[..steps.min(waiting.len())]",
            "&waiting[..(steps + usize::from(MUTATED)).min(waiting.len())]",
        )],
    ),
    mutant(
        "more_than_the_judge_takes",
        "judge: has more calls in flight than it takes",
        &[edit(
            "agents.rs",
            "self.is_there(now) && in_flight < self.capacity",
            "self.is_there(now) && in_flight < self.capacity + u32::from(MUTATED)",
        )],
    ),
    mutant(
        "nobody_cancels_a_judgement",
        "8: leaves a call of the judge in flight that nobody waits for",
        &[edit(
            "ledger.rs",
            "if *waiting == 0 {",
            "if *waiting == 0 && !MUTATED {",
        )],
    ),
    // Rule 5.
    mutant(
        "decides_out_of_order",
        "decides any step that has a verdict",
        &[edit(
            "machine/rules.rs",
            "let position = self.tree.lowest();\n        if !self.tree.settled(position) {",
            "let mut position = self.tree.lowest();
            if MUTATED {
                let mut slots = self.tree.slots().iter();
                let open = slots.position(|slot| {
                    slot.decided.is_none() && slot.verdict().is_some()
                });
                position = open.unwrap_or(self.tree.len());
            }
            if !self.tree.settled(position) {",
        )],
    ),
    // Rule 6.
    mutant(
        "answers_on_the_old_prefix_count",
        "keeps calls and answers when a suggestion changes the prefix that they were asked on",
        &[edit(
            "machine.rs",
            "self.ledger.change_prefix(slot, prefix, SUGGESTED);",
            "if MUTATED {
                slot.prefix = prefix;
            } else {
                self.ledger.change_prefix(slot, prefix, SUGGESTED);
            }",
        )],
    ),
    mutant(
        "another_observation_changes_nothing",
        "keeps what is below a step that observes something else when it is executed again",
        &[edit(
            "machine.rs",
            "self.drop_below(position, CHANGED);",
            "if !MUTATED { self.drop_below(position, CHANGED); }",
        )],
    ),
    mutant(
        "other_changes_change_nothing",
        "does not execute again what is below a step that changes something else now",
        &[edit(
            "machine.rs",
            "if before.changes == now.changes {",
            "if MUTATED || before.changes == now.changes {",
        )],
    ),
    // Rule 8.
    mutant(
        "late_answers_are_used",
        "takes the answer of a call that it cancelled",
        &[edit(
            "ledger.rs",
            "if self.calls.remove(&call).is_some() && end",
            "let open = self.calls.contains_key(&call);
                if !MUTATED {
                    self.calls.remove(&call);
                }
                if open && end",
        )],
    ),
    mutant(
        "a_call_never_ends",
        "does not account for the target call of a decided step",
        &[edit(
            "machine/rules.rs",
            "self.ledger.end_call(slot, Role::Target, AskEnd::Used, used);",
            "if !MUTATED { self.ledger.end_call(slot, Role::Target, AskEnd::Used, used); }",
        )],
    ),
    mutant(
        "an_execution_never_ends",
        "does not account for the execution of a verified step",
        &[edit(
            "machine.rs",
            "self.ledger.end_execution(node, step, ExecutionEnd::Used);",
            "if !MUTATED { self.ledger.end_execution(node, step, ExecutionEnd::Used); }",
        )],
    ),
    // Rule 9.
    mutant(
        "nobody_is_told_of_a_stall",
        "goes on waiting for a target that failed for good, or is gone",
        &[edit(
            "machine/rules.rs",
            "let wanted = self.target_stall();",
            "let wanted = self.target_stall().filter(|_| !MUTATED);",
        )],
    ),
    mutant(
        "a_rate_limit_is_for_ever",
        "does not wake up when a target may be asked again",
        &[edit(
            "machine.rs",
            "self.target.timeout(now),",
            "self.target.timeout(now).filter(|_| !MUTATED),",
        )],
    ),
    // Rule 11, on the planner's side: what is not adopted is executed again.
    mutant(
        "what_was_held_is_adopted",
        "adopts a candidate whose execution was held, or met a limit, without executing it",
        &[edit(
            "machine.rs",
            "if speculative {\n                    node.run = Run::Leaf;",
            "if speculative {\n                    node.run = if MUTATED { Run::Executed } else { Run::Leaf };",
        )],
    ),
    mutant(
        "what_is_stale_is_adopted",
        "tries to record a stale step again without executing it again",
        &[edit(
            "machine.rs",
            "self.ledger.end_execution(node, step, ExecutionEnd::Dropped);
        node.run = Run::Proposed;
        node.reruns += 1;",
            "if !MUTATED {
                self.ledger.end_execution(node, step, ExecutionEnd::Dropped);
                node.run = Run::Proposed;
            }
            node.reruns += 1;",
        )],
    ),
    // Rule 12.
    mutant(
        "a_review_is_cut_short",
        "retires a step while its review window is open",
        &[edit(
            "machine/rules.rs",
            "&& slot.review == Review::Over\n",
            "&& (MUTATED || slot.review == Review::Over)\n",
        )],
    ),
    mutant(
        "retires_twice",
        "wants a step to be recorded that is being recorded",
        &[edit(
            "machine/rules.rs",
            "&& !slot.retiring;\n",
            "&& (MUTATED || !slot.retiring);\n",
        )],
    ),
    mutant(
        "releases_what_did_not_ask",
        "lets an execution reach beyond its snapshot again and again",
        &[edit(
            "machine/rules.rs",
            "&& *gate == Gate::Awaited\n",
            "&& (MUTATED || *gate == Gate::Awaited)\n",
        )],
    ),
    mutant(
        "releases_ahead",
        "lets a proposal reach beyond its snapshot before its verdict",
        &[edit(
            "machine.rs",
            "*gate = Gate::Awaited;\n",
            "*gate = Gate::Awaited;\n                if MUTATED { *gate = Gate::Open; self.ledger.emit(Effect::Release { execution }); }\n",
        )],
    ),
    // Interruptions.
    mutant(
        "goes_on_while_paused",
        "launches, decides and retires while paused",
        &[edit(
            "machine/rules.rs",
            "self.backtrack.is_some() || self.clock.is_paused()",
            "self.backtrack.is_some() || self.clock.is_paused() && !MUTATED",
        )],
    ),
    mutant(
        "decides_during_a_claim",
        "takes T's answer for a verdict while the user is deciding",
        &[edit(
            "tree.rs",
            "self.claim.is_none())?",
            "self.claim.is_none() || MUTATED)?",
        )],
    ),
    mutant(
        "the_target_outranks_the_user",
        "takes T's answer for the verdict when the user has decided",
        &[edit(
            "tree.rs",
            "if let Some(candidate) = self.user {",
            "if let Some(candidate) = self.user.filter(|_| !MUTATED || self.answer.is_none()) {",
        )],
    ),
    // Presentation.
    mutant(
        "shows_what_is_not_its_turn",
        "shows lines below an undecided step",
        &[edit(
            "presentation.rs",
            "slot.decided?; // nothing is shown below an undecided step",
            "if !MUTATED { slot.decided?; }",
        )],
    ),
];
