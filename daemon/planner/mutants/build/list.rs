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
