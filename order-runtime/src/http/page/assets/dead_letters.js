export function showLetterCount() {}
export function startLetters() {}
export function searchLetters() {}
