/**
 * Requests are signed as Standard Webhooks are: HMAC-SHA256 over "id.timestamp.body", in bytes.
 */

/**
 * @typedef {object} SheetKey
 * @property {string} id 12 lower-case hex digits
 * @property {number[]} secret 32 bytes, signed as Apps Script has them (-128..127)
 */

/**
 * Take a sheet key apart.
 *
 * @param {string} text "ck_<id>_<secret>"; the secret may hold '_' and '-' itself
 * @return {?SheetKey} null when it is no such key
 */
function parseKey_(text) {
  const found = /^ck_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/.exec(text.trim());
  // 32 bytes are 43 characters; the decoder wants the padding.
  return found && { id: found[1], secret: Utilities.base64DecodeWebSafe(`${found[2]}=`) };
}

/**
 * Make the headers that prove a request comes from this sheet and was not changed on its way.
 *
 * @param {SheetKey} key
 * @param {number[]} body the very bytes that are sent
 * @param {string} id new for every request, also for a repeated one: the API accepts each id once
 * @param {number} timestamp Unix seconds
 * @return {Object<string, string>}
 */
function signedHeaders_(key, body, id, timestamp) {
  const signed = bytesOf_(`${id}.${timestamp}.`).concat(body);
  const mac = Utilities.computeHmacSha256Signature(signed, key.secret);
  return {
    'x-key-id': key.id,
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': `v1,${Utilities.base64Encode(mac)}`,
  };
}

/**
 * Give the UTF-8 bytes of a text.
 *
 * @param {string} text
 * @return {number[]} signed bytes
 */
function bytesOf_(text) {
  return text === '' ? [] : Utilities.newBlob(text).getBytes();
}
