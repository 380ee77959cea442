// Counts the results of the HTTP caching tests by the suite's own code: which tests there are, and what a result
// means where the test depends on others.
//
//     node count.mjs SUITE RESULTS.json
//
// Prints JSON: for each kind of test (required, optimal, check) how many were run, how many passed, and how many
// have each outcome; and each test that was run and did not pass.

import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [suite, file] = process.argv.slice(2)
const load = name => import(pathToFileURL(path.resolve(suite, name)))
const { default: groups } = await load('tests/index.mjs')
const { determineTestResult, resultTypes } = await load('test-engine/lib/results.mjs')
const results = JSON.parse(fs.readFileSync(file, 'utf8'))

const outcomes = new Map(Object.entries(resultTypes).map(([name, type]) => [type, name]))
const kinds = {}
const failures = []

for (const group of groups) {
  for (const test of group.tests) {
    // Tests for browsers are not run.
    if (!(test.id in results)) continue
    const kind = test.kind ?? 'required'
    const result = results[test.id]
    // The page that shows one's own run counts these as passed.
    const passed = result === true
    // The page that compares caches shows this: a pass counts only if the tests that it depends on passed, too.
    const outcome = outcomes.get(determineTestResult(groups, test.id, results))
    const count = (kinds[kind] ??= { run: 0, passed: 0, outcomes: {} })
    count.run += 1
    if (passed) count.passed += 1
    count.outcomes[outcome] = (count.outcomes[outcome] ?? 0) + 1
    if (!passed || outcome === 'dependency_fail') {
      const message = passed ? '' : result.filter(Boolean).join(': ')
      failures.push({ id: test.id, group: group.id, kind, outcome, name: test.name, message })
    }
  }
}

console.log(JSON.stringify({ kinds, failures }, null, 2))
