/**
 * What the evidence is worth of which a part is.
 *
 * `verified`: a quote that holds proves all of it. `partial`: it proves some of it, and the part says more. `refused`: something
 * speaks against it. `unproven`: nothing proves it, so nothing is said of what is in it.
 */
export type PartStatus = 'verified' | 'partial' | 'refused' | 'unproven';
