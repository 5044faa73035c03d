/**
 * Connect this spreadsheet: exchange a one-time code for the key of this one spreadsheet.
 *
 * Whoever has a code could name any spreadsheet, so the service asks for a proof that the person may edit this one: a
 * text that the script leaves on the spreadsheet and that the service then reads there with its own account.
 */

/** How long to wait until the service has read the proof. */
const CONNECT_WAIT_MS_ = 40000;

/** How long to wait before asking again. */
const CONNECT_PAUSE_MS_ = 2000;

/** The key of the proof on the spreadsheet. */
const PROOF_MARK_ = 'comfysheet-proof';

/**
 * Exchange a code for a key.
 *
 * @param {string} url
 * @param {string} code
 * @return {{key: string, serviceAccount: string}}
 */
function pair_(url, code) {
  const spreadsheet = SpreadsheetApp.getActiveSpreadsheet();
  const body = JSON.stringify({
    code,
    spreadsheet_id: spreadsheet.getId(),
    sheet_id: SpreadsheetApp.getActiveSheet().getSheetId(),
    title: spreadsheet.getName(),
  });
  let trouble = '';
  let proof = '';
  try {
    for (let waited = 0; waited <= CONNECT_WAIT_MS_; waited += CONNECT_PAUSE_MS_) {
      const news = askToConnect_(url, body);
      if (news.state === 'connected') return { key: String(news.key), serviceAccount: news.service_account || '' };
      if (news.state === 'prove' && news.proof !== proof) {
        proof = String(news.proof);
        leaveProof_(spreadsheet, proof);
        continue; // at once: the proof is there
      }
      trouble = news.trouble || '';
      Utilities.sleep(CONNECT_PAUSE_MS_);
    }
  } finally {
    leaveProof_(spreadsheet, null);
  }
  throw new ForPerson_(trouble || 'The service did not finish connecting within 40 seconds. Press Connect again; the code is still good.');
}

/**
 * Ask once.
 *
 * @param {string} url
 * @param {string} body
 * @return {Object<string, any>}
 */
function askToConnect_(url, body) {
  const answer = fetch_(`${url}/v1/sheets/connect`, {
    method: 'post',
    contentType: 'application/json',
    payload: bytesOf_(body),
    muteHttpExceptions: true,
    followRedirects: false,
  });
  if (answer.code === 200 && answer.content !== null) return answer.content;
  const said = answer.content && answer.content.error && answer.content.error.message;
  throw new ForPerson_(answer.code >= 400 && answer.code < 500 && said ? String(said) : reasonOf_(answer));
}

/**
 * Put the proof on the spreadsheet in place of an older one.
 *
 * @param {SpreadsheetApp.Spreadsheet} spreadsheet
 * @param {?string} proof null takes it away
 */
function leaveProof_(spreadsheet, proof) {
  for (const mark of spreadsheet.getDeveloperMetadata()) {
    if (mark.getKey() === PROOF_MARK_) mark.remove();
  }
  if (proof !== null) spreadsheet.addDeveloperMetadata(PROOF_MARK_, proof, SpreadsheetApp.DeveloperMetadataVisibility.DOCUMENT);
  SpreadsheetApp.flush();
}
