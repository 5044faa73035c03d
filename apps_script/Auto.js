/**
 * Auto mode: the service itself starts rows whose Status is set to pending or whose Run box is ticked, within a minute.
 *
 * While it is on, whoever starts rows holds the service's lease, from before reading Status until the last request was
 * answered: the document lock keeps out other executions of this script, but not the service.
 */

/** How long to wait for the lease. */
const LEASE_WAIT_MS_ = 20000;

/** How long to go on before the lease, which lasts 60 s, is asked for anew. */
const LEASE_FRESH_MS_ = 20000;

/**
 * @typedef {object} Lease
 * @property {() => void} hold waits for it; throws when it takes too long
 * @property {() => boolean} renew says whether it is still held
 * @property {() => void} letGo
 */

/**
 * Make ready to hold the lease; nothing happens while auto mode is off.
 *
 * @param {Connection} connection
 * @return {Lease}
 */
function leaseOf_(connection) {
  if (!connection.auto) return { hold: () => {}, renew: () => true, letGo: () => {} };
  const token = Utilities.getUuid();
  let heldSince = 0;
  const claim = (/** @type {boolean} */ hold) => askApi_(connection, '/v1/sheets/claims', { token, hold });
  return {
    hold() {
      const end = Date.now() + LEASE_WAIT_MS_;
      for (let waited = 0; ;) {
        const { held, wait_s: wait } = claim(true);
        heldSince = Date.now();
        if (held) return;
        const pause = Math.min(Math.max(Number(wait) || 1, 1) * 1000, LEASE_WAIT_MS_);
        if (waited + pause > LEASE_WAIT_MS_ || heldSince + pause > end) {
          heldSince = 0;
          throw new ForPerson_('Auto mode is starting rows of this spreadsheet just now, or somebody else is. Try again in half a minute.');
        }
        Utilities.sleep(pause);
        waited += pause;
      }
    },
    renew() {
      if (Date.now() - heldSince < LEASE_FRESH_MS_) return true;
      const { held } = claim(true);
      heldSince = Date.now();
      return Boolean(held);
    },
    letGo() {
      if (heldSince === 0) return;
      heldSince = 0;
      try {
        claim(false);
      } catch (error) {
        console.warn(`The lease was not given back; it ends by itself. ${error.message}`);
      }
    },
  };
}
