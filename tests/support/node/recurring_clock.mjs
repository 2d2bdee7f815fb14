// A clock that stands where it is set, for code that asks for the time: real timers go on.
const Real = Date;
let stands = null;

globalThis.Date = class extends Real {
  constructor(...given) {
    if (given.length || stands === null) super(...given);
    else super(stands);
  }
  static now() {
    return stands === null ? Real.now() : stands;
  }
};

/** Let it be this many milliseconds after 1970; null: let it go. */
export function setClock(ms) {
  stands = ms;
}
