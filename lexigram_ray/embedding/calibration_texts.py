"""Passages of many kinds, on which a model is tried before its numbers become integers.

They decide int8 vectors: a change of one letter makes another model, to which vectors made before
do not belong. Better passages are a new set, beside this one.
"""

from __future__ import annotations

GENERIC = """\
The committee met on Tuesday to consider the proposals for the new harbour. Members agreed that
the old quay could no longer carry the weight of modern cranes, but they were divided on how the
work should be paid for. A decision was put off until the spring, when the surveyors' report is due.

How do I undo the last commit without losing my changes?

Photosynthesis takes place in the chloroplasts, where light drives the splitting of water into
oxygen, protons and electrons. The electrons pass along a chain of proteins in the membrane, and
the energy that they give up is stored as ATP. In the second stage, which needs no light, carbon
dioxide is fixed into sugars by an enzyme that is thought to be the most abundant on Earth.

Permission is hereby given to reproduce this notice in full, provided that no charge is made and
that the names of the contributors are not used to promote any product. The work is supplied as it
is; in no event shall the holders of the rights be liable for any loss, direct or consequential.

Soften the onions in butter over a low heat for ten minutes. Add the garlic, the tomatoes and a
pinch of sugar, and let everything simmer until it is thick. Season with salt and black pepper, tear
in a few leaves of basil, and serve over fresh pasta with grated cheese. Serves four.

def mean(values: list[float]) -> float:
    if not values:
        raise ValueError("mean of an empty list")
    return sum(values) / len(values)

Quarterly revenue rose 4.2% to $318 million, helped by demand for replacement parts, while operating
costs were held flat. Net income per share came to $1.07 against $0.96 a year earlier. The board
has declared a dividend of 22 cents, payable on 15 March to shareholders of record on 1 March, and
expects growth in the mid single digits for the rest of the year.

The patient, a woman of 54, presented with a dry cough of three weeks and shortness of breath on
exertion. There was no fever. A chest radiograph showed a small effusion on the left side; blood
counts were normal. She was started on a diuretic and reviewed after ten days, by which time the
symptoms had resolved.

Dear Mr Hollis, thank you for your letter of 9 May. I am sorry to hear that the second parcel
reached you damaged. We shall of course replace it at our own cost, and you need not return the
broken pieces. If you would rather have your money back, a word by telephone will be enough.
Yours sincerely, Anne Whitcombe, Customer Service

| Station | Opened | Platforms | Passengers a day |
|---|---|---|---|
| Northgate | 1874 | 4 | 12,300 |
| Mill Road | 1891 | 2 | 3,150 |
| Airport | 1998 | 6 | 40,870 |

The siege lasted from the first frosts until the end of April. By then the garrison had eaten its
horses, and fever had killed more men than the guns. When the gates were opened at last, the
chronicler writes, the victors marched in without a sound, ashamed of what they saw. The walls were
never built up again, and today sheep graze where the keep stood.

ERROR 2021-11-03 04:17:22 worker-7: connection to 10.0.3.14:5432 refused (attempt 3 of 5), retrying
in 8.0 seconds; 1204 rows pending

She had not meant to stay. The train was at six, her bag was packed, and there was nothing more to
say to any of them. But the old man had taken out his violin, and the children had gone quiet, and
through the open window came the smell of rain on the dust of the road. "One song," she said, and
sat down again by the stove.

Rocks are grouped by the way in which they form. Igneous rocks cool from magma, sedimentary rocks
are laid down grain by grain, and metamorphic rocks are either of these changed by heat and
pressure. Granite, sandstone and marble are familiar examples of the three.

The tenant shall keep the interior of the premises in good repair and shall not make any alteration
without the landlord's written consent. Rent falls due on the first day of each month. Either
party may end this agreement by giving two months' notice; a deposit equal to one month's rent is
held against damage and returned, less any deductions, within fourteen days of departure.

Symptoms of low blood sugar include sweating, trembling, hunger and confusion.

To install the driver, download the archive for your platform, unpack it, and run the installer
with administrator rights. Restart the computer when asked. If the device is still not recognised,
open the system log and look for messages that begin with "usb"; error 43 means that the cable or
the hub does not supply enough power.

The striker scored twice in the first half, and the visitors never recovered. A penalty ten minutes
from time made it 3-1, but by then many of the 42,000 in the stadium had begun to sing. The win
takes the club to third place, two points behind the leaders with a game in hand.

In linear algebra, a matrix is said to be positive definite when x^T A x > 0 for every nonzero
vector x. All its eigenvalues are then positive, and it has a unique factorisation A = L L^T with L
lower triangular, which is the cheapest way to solve A x = b.

What is the difference between a mortgage with a fixed rate and one with a variable rate?

The museum is open every day but Monday from 10 am to 6 pm. Admission is free for children under
twelve. Take tram 5 to the Botanical Garden and walk back along the river for about two hundred
metres; there is little parking nearby. Guided tours in English begin at eleven and at three.

<div class="card"><h2>Release notes</h2><ul><li>Faster start</li><li>Fixed a crash when a file had
no name</li><li>Removed the option <code>--legacy</code></li></ul></div>

Birds that migrate by night steer by the stars and by the Earth's magnetic field. Young warblers
raised under an artificial sky learn whichever point the stars turn around, and later fly away from
it in autumn. On overcast nights they rely on the magnetic sense, which seems to depend on a protein
in the eye that reacts to blue light.

The court held that the contract had been frustrated, since neither side could have foreseen the
closing of the canal. The appeal was dismissed with costs. Lord Carne, dissenting, thought that a
merchant who promises delivery takes the risk of the longer road.

I bought these boots last winter and have worn them nearly every day since. The leather is stiff at
first, but after a fortnight they are very comfortable, and no water has come in yet. Order half a
size up if you like thick socks. One star off because the laces broke within a month.

SELECT customer_id, COUNT(*) AS orders, SUM(total) AS spent FROM orders
WHERE placed_at >= DATE '2023-01-01' GROUP BY customer_id HAVING COUNT(*) > 3 ORDER BY spent DESC;

Inflation is a lasting rise in the general level of prices. When it is caused by demand that grows
faster than output, a central bank can slow it by raising interest rates, which makes borrowing
dearer and saving more attractive. Where costs are the cause, such as a shortage of oil, the same
remedy works more slowly and does more harm to employment.

Die Bibliothek bleibt am Montag wegen Bauarbeiten geschlossen; entliehene Bücher können in den
Kasten neben dem Eingang geworfen werden.

Le conseil municipal a voté hier soir la construction d'une nouvelle école, dont les travaux
commenceront à l'automne prochain.

Including 北京 and 東京, Москва, Αθήνα, القاهرة; café, naïve, São Paulo, 😀 and €9.99 (−15 %).

Before you change a fuse, switch off the current at the main board. Look for the wire that has
melted, replace it with one of the same rating, never a thicker one, and find out why it went before
you switch on again. If it blows a second time, call an electrician.

Abstract. We study how teams of engineers review each other's changes. From 11,400 reviews in nine
open projects we find that short changes are read more carefully, that most remarks concern names
and structure rather than faults, and that a review by two people finds few faults that a review by
one would have missed. We discuss what this means for tools and for teaching.

The new telescope consists of 18 hexagonal mirrors, each coated with gold 100 nanometres thick. It
looks at the sky in infrared light, which passes through the dust that hides the birth of stars,
and must be kept colder than minus 220 degrees Celsius, in the shadow of a shield as large as a
tennis court.

Chapter 3. Configuration
3.1 Files. Settings are read from the system's file, then from the user's, then from variables of
the environment; the last one found wins. 3.2 Units. Times are in seconds, sizes in bytes, and a
suffix of k, M or G multiplies by a power of 1,024. 3.3 Reloading. Send the signal HUP.

A: Is the position still open? B: It is, but we'd need someone who can start before the end of the
month. A: That's fine with me. Would I be able to work from home? B: Two days a week, yes, once
you've been here for half a year.

best hiking trails near the lake with parking and dogs allowed

The economy of the island rests on fishing, on the growing of vanilla, and since the airport was
built on visitors. About 90,000 people live there, most of them on the west coast, where the
mountains break the wind. Its first inhabitants came by canoe some two thousand years ago; their
terraces can still be seen above the bay. English and a Creole are spoken.

No.

A neural network is trained by showing it examples, measuring how far its answers are from the right
ones, and changing each weight a little in the direction that makes the error smaller. Repeated
millions of times, this finds weights that also serve for examples that were never shown, so long
as they resemble the others. Why it works so well is only partly understood.

Whereas the parties wish to promote the conservation of migratory fish; Recalling the declaration
of 1992; Noting with concern the decline of stocks in the northern waters; Have agreed as follows:
Article 1. For the purposes of this Convention, "vessel" means any ship that is used to catch fish.
""".strip().split("\n\n")
