/**
 * What `make sheet-push` knows of the deployment; the copy in the repository knows nothing.
 */

/** The address of the API; when it is set, Settings do not ask for it. */
const DEPLOYED_API_URL_ = '';
