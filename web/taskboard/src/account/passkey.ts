// Passkeys: JSON of the server in, JSON for the server out. What the browser
// does not turn into JSON itself is turned here.

/** Whether this browser has passkeys at all; they need https or localhost. */
export const hasPasskeys = (): boolean => typeof PublicKeyCredential === "function";

/** Whether the browser can offer passkeys in a form's field. */
export const canOffer = async (): Promise<boolean> =>
  hasPasskeys() && !!(await PublicKeyCredential.isConditionalMediationAvailable?.().catch(() => false));

const bytes = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));

const text = (buffer: ArrayBuffer | null | undefined): string | undefined =>
  buffer
    ? btoa(String.fromCharCode(...new Uint8Array(buffer)))
        .replace(/\+/g, "-")
        .replace(/\//g, "_")
        .replace(/=+$/, "")
    : undefined;

const descriptors = (list: PublicKeyCredentialDescriptorJSON[] | undefined): PublicKeyCredentialDescriptor[] =>
  (list ?? []).map(({ id, transports }) => ({
    type: "public-key",
    id: bytes(id),
    ...(transports && { transports: transports as AuthenticatorTransport[] }),
  }));

const requestOptions = (json: PublicKeyCredentialRequestOptionsJSON): PublicKeyCredentialRequestOptions =>
  PublicKeyCredential.parseRequestOptionsFromJSON?.(json) ??
  ({ ...json, challenge: bytes(json.challenge), allowCredentials: descriptors(json.allowCredentials) } as unknown as PublicKeyCredentialRequestOptions);

const creationOptions = (json: PublicKeyCredentialCreationOptionsJSON): PublicKeyCredentialCreationOptions =>
  PublicKeyCredential.parseCreationOptionsFromJSON?.(json) ??
  ({
    ...json,
    challenge: bytes(json.challenge),
    user: { ...json.user, id: bytes(json.user.id) },
    excludeCredentials: descriptors(json.excludeCredentials),
  } as unknown as PublicKeyCredentialCreationOptions);

function toJSON(credential: PublicKeyCredential): unknown {
  try {
    return credential.toJSON(); // some extensions of browsers break it
  } catch {
    const response = credential.response as Partial<AuthenticatorAttestationResponse & AuthenticatorAssertionResponse>;
    return {
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      clientExtensionResults: {},
      response: {
        clientDataJSON: text(response.clientDataJSON),
        attestationObject: text(response.attestationObject),
        transports: response.getTransports?.(),
        authenticatorData: text(response.authenticatorData),
        signature: text(response.signature),
        userHandle: text(response.userHandle),
      },
    };
  }
}

/** Asks for a passkey that is there. `quiet`: the browser offers it among a field's suggestions. */
export async function getPasskey(
  json: PublicKeyCredentialRequestOptionsJSON,
  { signal, quiet }: { signal?: AbortSignal; quiet?: boolean },
): Promise<unknown> {
  const credential = await navigator.credentials.get({
    publicKey: requestOptions(json),
    ...(signal && { signal }),
    ...(quiet && { mediation: "conditional" as const }),
  });
  return toJSON(credential as PublicKeyCredential);
}

/** Makes a passkey. */
export async function createPasskey(json: PublicKeyCredentialCreationOptionsJSON): Promise<unknown> {
  return toJSON((await navigator.credentials.create({ publicKey: creationOptions(json) })) as PublicKeyCredential);
}
