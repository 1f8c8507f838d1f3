/** What is wrong with a draft, and where: the path is that of the protobuf message's field. */
export interface PolicyProblem {
  readonly field: string;
  readonly message: string;
}
