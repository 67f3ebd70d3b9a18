/** Removes a directory with everything below it. Something that is not there is no error. */
export function removeTree(path: string): Promise<void>;
