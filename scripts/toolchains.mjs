// Which other languages can be built for here. Assay needs none of them: they are for tests.
import { findProgram, outputOf } from './process.mjs';

/** Version of a program from what it prints, or undefined where it is missing. */
function versionOf(command, args, pattern) {
  return pattern
    .exec(outputOf(command, args) ?? '')
    ?.slice(1)
    .map(Number);
}

function isAtLeast(version, [major, minor]) {
  return version !== undefined && (version[0] > major || (version[0] === major && (version[1] ?? 0) >= minor));
}

/** A newer Go, where a module asks for one, comes by itself from 1.21 on. */
export function hasGo() {
  return isAtLeast(versionOf('go', ['env', 'GOVERSION'], /go(\d+)\.(\d+)/), [1, 21]);
}

/** A Python that is new enough and can make virtual environments: Debian has `venv` without `ensurepip` as it comes. */
export function hasPython() {
  const print = 'import sys, venv, ensurepip; print(*sys.version_info[:2])';
  return isAtLeast(versionOf('python3', ['-c', print], /(\d+) (\d+)/), [3, 10]);
}

/** What tonic asks for. */
export function hasRust() {
  return isAtLeast(versionOf('cargo', ['--version'], /(\d+)\.(\d+)/), [1, 88]);
}

export function hasJava() {
  return isAtLeast(versionOf('javac', ['-version'], /(\d+)(?:\.(\d+))?/), [17, 0]) && findProgram('mvn') !== undefined;
}
