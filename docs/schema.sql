-- The schema that the migrations make, read back from the database's catalog. A test holds it true.
-- Renew it with: go test ./migrations -run TestSchemaDump -update

-- role docket_app: nologin noinherit

grant usage on schema public to docket_app;

CREATE OR REPLACE FUNCTION public.begin_series()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  new.series_id := coalesce(new.series_id, new.id);
  new.occurrence_date := coalesce(new.occurrence_date, new.due_date);
  return new;
end;
$function$;

CREATE OR REPLACE FUNCTION public.change_tags(tags text[], added text[], removed text[])
 RETURNS text[]
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
declare
  lengths constant int[] := array(select char_length(name) from unnest(removed) as name);
  gone constant text[] := array(select fold_tag(name) from unnest(removed) as name);
begin
  return unique_tags(array(
    select name
    from unnest(tags) with ordinality as kept (name, at)
    where case when char_length(name) = any (lengths) then fold_tag(name) <> all (gone) else true end
    order by at
  ) || coalesce(added, '{}'));
end;
$function$;

CREATE OR REPLACE FUNCTION public.changed_links(previous text[], present text[])
 RETURNS TABLE(folded text, name text)
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE ROWS 2
AS $function$
begin
  return query
  select link.folded, link.has
  from (
    select char_length(given.name) as length, array_agg(given.name order by given.at) as tags
    from unnest(previous) with ordinality as given (name, at)
    group by length
  ) as was
  full join (
    select char_length(given.name) as length, array_agg(given.name order by given.at) as tags
    from unnest(present) with ordinality as given (name, at)
    group by length
  ) as has on has.length = was.length
  cross join lateral (
    select coalesce(gone.folded, changed.folded) as folded, gone.name as was, changed.name as has
    from tag_links(was.tags) as gone
    full join tag_links(has.tags) as changed on changed.folded = gone.folded
  ) as link
  where has.tags is distinct from was.tags and link.has is distinct from link.was;
end;
$function$;

CREATE OR REPLACE FUNCTION public.count_tasks()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  case tg_op
  when 'INSERT' then
    perform task_summary_add(user_id, max(rev), completed, priority, count(*))
    from new_rows
    group by user_id, completed, priority;
  when 'UPDATE' then
    perform task_summary_add(user_id, max(rev), completed, priority, sum(tasks))
    from (
      select user_id, rev, completed, priority, 1 as tasks from new_rows
      union all
      select user_id, rev, completed, priority, -1 from old_rows
    ) as changed
    group by user_id, completed, priority;
  when 'DELETE' then
    perform task_summary_add(user_id, null, completed, priority, -count(*))
    from old_rows
    group by user_id, completed, priority;
  end case;
  return null;
end;
$function$;
revoke execute on function count_tasks() from public;

CREATE OR REPLACE FUNCTION public.fold_letters(name text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
begin
  return (
    select string_agg(coalesce(jsonb_object(
      string_to_array(
        'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąć' ||
        'ĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷŸźżžſƃ' ||
        'ƅƈƌƒƙơƣƥƨƭưƴƶƹƽǅǆǈǉǋǌǎǐǒǔǖǘǚǜǝǟǡǣǥǧǩǫǭǯǲǳǵǶǷǹǻǽǿȁȃȅȇȉȋȍȏȑȓȕȗ' ||
        'șțȝȟȠȣȥȧȩȫȭȯȱȳȼȽɂɃɇɉɋɍɏɓɔɖɗəɛɠɣɨɩɯɲɵʀʃʈʉʊʋʌʒͱͳͷΙΜάέήίαβγδεζη' ||
        'θικλμνξοπρςστυφχψωϊϋόύώϐϑϕϖϗϙϛϝϟϡϣϥϧϩϫϭϯϰϱϳϴϵϸϹϻϽϾϿабвгдежзи' ||
        'йклмнопрстуфхцчшщъыьэюяѐёђѓєѕіїјљњћќѝўџѡѣѥѧѩѫѭѯѱѳѵѷѹѻѽѿҁҋҍҏґ' ||
        'ғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӂӄӆӈӊӌӎӏӑӓӕӗәӛӝӟӡӣӥӧөӫӭӯӱӳӵӷӹӻӽӿԁԃԅԇԉ' ||
        'ԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆᏸᏹᏺ' ||
        'ᏻᏼᏽᲀᲁᲂᲃᲄᲅᲆᲇᲐᲑᲒᲓᲔᲕᲖᲗᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺᲽᲾᲿḁḃḅ' ||
        'ḇḉḋḍḏḑḓḕḗḙḛḝḟḡḣḥḧḩḫḭḯḱḳḵḷḹḻḽḿṁṃṅṇṉṋṍṏṑṓṕṗṙṛṝṟṡṣṥṧṩṫṭṯṱṳṵṷṹṻṽ' ||
        'ṿẁẃẅẇẉẋẍẏẑẓẕẛẞạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹỻ' ||
        'ỽỿἈἉἊἋἌἍἎἏἘἙἚἛἜἝἨἩἪἫἬἭἮἯἸἹἺἻἼἽἾἿὈὉὊὋὌὍὙὛὝὟὨὩὪὫὬὭὮὯᾈᾉᾊᾋᾌᾍᾎᾏᾘᾙ' ||
        'ᾚᾛᾜᾝᾞᾟᾨᾩᾪᾫᾬᾭᾮᾯᾸᾹᾺΆᾼιῈΈῊΉῌῘῙῚΊῨῩῪΎῬῸΌῺΏῼΩKÅⅎⅰⅱⅲⅳⅴⅵⅶⅷⅸⅹⅺⅻⅼⅽⅾⅿↄ' ||
        'ⓐⓑⓒⓓⓔⓕⓖⓗⓘⓙⓚⓛⓜⓝⓞⓟⓠⓡⓢⓣⓤⓥⓦⓧⓨⓩⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋⱌⱍⱎⱏⱐⱑ' ||
        'ⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡⱢⱣⱤⱥⱦⱨⱪⱬⱭⱮⱯⱰⱳⱶⱾⱿⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹ' ||
        'ⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣ' ||
        'ⴤⴥⴧⴭꙁꙃꙅꙇꙉꙊꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇ' ||
        'ꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼꝽꝿꞁꞃꞅꞇꞌꞍꞑꞓꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩꞪꞫꞬꞭꞮꞰꞱꞲꞵꞷꞹꞻꞽꞿꟁꟃꟄꟅ' ||
        'Ᶎꟈꟊꟑꟗꟙꟶꭓꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝꮞꮟꮠꮡꮢꮣ' ||
        'ꮤꮥꮦꮧꮨꮩꮪꮫꮬꮭꮮꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿａｂｃｄｅｆｇｈｉｊｋｌｍｎｏｐｑｒｓｔｕｖｗｘｙｚ𐐨𐐩𐐪𐐫𐐬𐐭' ||
        '𐐮𐐯𐐰𐐱𐐲𐐳𐐴𐐵𐐶𐐷𐐸𐐹𐐺𐐻𐐼𐐽𐐾𐐿𐑀𐑁𐑂𐑃𐑄𐑅𐑆𐑇𐑈𐑉𐑊𐑋𐑌𐑍𐑎𐑏𐓘𐓙𐓚𐓛𐓜𐓝𐓞𐓟𐓠𐓡𐓢𐓣𐓤𐓥𐓦𐓧𐓨𐓩𐓪𐓫𐓬𐓭𐓮𐓯𐓰𐓱' ||
        '𐓲𐓳𐓴𐓵𐓶𐓷𐓸𐓹𐓺𐓻𐖗𐖘𐖙𐖚𐖛𐖜𐖝𐖞𐖟𐖠𐖡𐖣𐖤𐖥𐖦𐖧𐖨𐖩𐖪𐖫𐖬𐖭𐖮𐖯𐖰𐖱𐖳𐖴𐖵𐖶𐖷𐖸𐖹𐖻𐖼𐳀𐳁𐳂𐳃𐳄𐳅𐳆𐳇𐳈𐳉𐳊𐳋𐳌𐳍𐳎' ||
        '𐳏𐳐𐳑𐳒𐳓𐳔𐳕𐳖𐳗𐳘𐳙𐳚𐳛𐳜𐳝𐳞𐳟𐳠𐳡𐳢𐳣𐳤𐳥𐳦𐳧𐳨𐳩𐳪𐳫𐳬𐳭𐳮𐳯𐳰𐳱𐳲𑣀𑣁𑣂𑣃𑣄𑣅𑣆𑣇𑣈𑣉𑣊𑣋𑣌𑣍𑣎𑣏𑣐𑣑𑣒𑣓𑣔𑣕𑣖𑣗' ||
        '𑣘𑣙𑣚𑣛𑣜𑣝𑣞𑣟𖹠𖹡𖹢𖹣𖹤𖹥𖹦𖹧𖹨𖹩𖹪𖹫𖹬𖹭𖹮𖹯𖹰𖹱𖹲𖹳𖹴𖹵𖹶𖹷𖹸𖹹𖹺𖹻𖹼𖹽𖹾𖹿𞤢𞤣𞤤𞤥𞤦𞤧𞤨𞤩𞤪𞤫𞤬𞤭𞤮𞤯𞤰𞤱𞤲𞤳𞤴𞤵' ||
        '𞤶𞤷𞤸𞤹𞤺𞤻𞤼𞤽𞤾𞤿𞥀𞥁𞥂𞥃', null),
      string_to_array(
        'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆ' ||
        'ĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶÿŹŻŽsƂ' ||
        'ƄƇƋƑƘƠƢƤƧƬƯƳƵƸƼǄǄǇǇǊǊǍǏǑǓǕǗǙǛƎǞǠǢǤǦǨǪǬǮǱǱǴƕƿǸǺǼǾȀȂȄȆȈȊȌȎȐȒȔȖ' ||
        'ȘȚȜȞƞȢȤȦȨȪȬȮȰȲȻƚɁƀɆɈɊɌɎƁƆƉƊƏƐƓƔƗƖƜƝƟƦƩƮɄƱƲɅƷͰͲͶͅµΆΈΉΊΑΒΓΔΕΖΗ' ||
        'ΘͅΚΛµΝΞΟΠΡΣΣΤΥΦΧΨΩΪΫΌΎΏΒΘΦΠϏϘϚϜϞϠϢϤϦϨϪϬϮΚΡͿΘΕϷϲϺͻͼͽАБВГДЕЖЗИ' ||
        'ЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЀЁЂЃЄЅІЇЈЉЊЋЌЍЎЏѠѢѤѦѨѪѬѮѰѲѴѶѸѺѼѾҀҊҌҎҐ' ||
        'ҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӁӃӅӇӉӋӍӀӐӒӔӖӘӚӜӞӠӢӤӦӨӪӬӮӰӲӴӶӸӺӼӾԀԂԄԆԈ' ||
        'ԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖᏰᏱᏲ' ||
        'ᏳᏴᏵВДОСТТЪѢაბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴჵჶჷჸჹჺჽჾჿḀḂḄ' ||
        'ḆḈḊḌḎḐḒḔḖḘḚḜḞḠḢḤḦḨḪḬḮḰḲḴḶḸḺḼḾṀṂṄṆṈṊṌṎṐṒṔṖṘṚṜṞṠṢṤṦṨṪṬṮṰṲṴṶṸṺṼ' ||
        'ṾẀẂẄẆẈẊẌẎẐẒẔṠßẠẢẤẦẨẪẬẮẰẲẴẶẸẺẼẾỀỂỄỆỈỊỌỎỐỒỔỖỘỚỜỞỠỢỤỦỨỪỬỮỰỲỴỶỸỺ' ||
        'ỼỾἀἁἂἃἄἅἆἇἐἑἒἓἔἕἠἡἢἣἤἥἦἧἰἱἲἳἴἵἶἷὀὁὂὃὄὅὑὓὕὗὠὡὢὣὤὥὦὧᾀᾁᾂᾃᾄᾅᾆᾇᾐᾑ' ||
        'ᾒᾓᾔᾕᾖᾗᾠᾡᾢᾣᾤᾥᾦᾧᾰᾱὰάᾳͅὲέὴήῃῐῑὶίῠῡὺύῥὸόὼώῳΩkÅℲⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩⅪⅫⅬⅭⅮⅯↃ' ||
        'ⒶⒷⒸⒹⒺⒻⒼⒽⒾⒿⓀⓁⓂⓃⓄⓅⓆⓇⓈⓉⓊⓋⓌⓍⓎⓏⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛⰜⰝⰞⰟⰠⰡ' ||
        'ⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠɫᵽɽȺȾⱧⱩⱫɑɱɐɒⱲⱵȿɀⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸ' ||
        'ⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲႠႡႢႣႤႥႦႧႨႩႪႫႬႭႮႯႰႱႲႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃ' ||
        'ჄჅჇჍꙀꙂꙄꙆꙈᲈᲈꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆ' ||
        'ꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻᵹꝾꞀꞂꞄꞆꞋɥꞐꞒꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨɦɜɡɬɪʞʇʝꞴꞶꞸꞺꞼꞾꟀꟂꞔʂ' ||
        'ᶎꟇꟉꟐꟖꟘꟵꞳᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍᏎᏏᏐᏑᏒᏓ' ||
        'ᏔᏕᏖᏗᏘᏙᏚᏛᏜᏝᏞᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯＡＢＣＤＥＦＧＨＩＪＫＬＭＮＯＰＱＲＳＴＵＶＷＸＹＺ𐐀𐐁𐐂𐐃𐐄𐐅' ||
        '𐐆𐐇𐐈𐐉𐐊𐐋𐐌𐐍𐐎𐐏𐐐𐐑𐐒𐐓𐐔𐐕𐐖𐐗𐐘𐐙𐐚𐐛𐐜𐐝𐐞𐐟𐐠𐐡𐐢𐐣𐐤𐐥𐐦𐐧𐒰𐒱𐒲𐒳𐒴𐒵𐒶𐒷𐒸𐒹𐒺𐒻𐒼𐒽𐒾𐒿𐓀𐓁𐓂𐓃𐓄𐓅𐓆𐓇𐓈𐓉' ||
        '𐓊𐓋𐓌𐓍𐓎𐓏𐓐𐓑𐓒𐓓𐕰𐕱𐕲𐕳𐕴𐕵𐕶𐕷𐕸𐕹𐕺𐕼𐕽𐕾𐕿𐖀𐖁𐖂𐖃𐖄𐖅𐖆𐖇𐖈𐖉𐖊𐖌𐖍𐖎𐖏𐖐𐖑𐖒𐖔𐖕𐲀𐲁𐲂𐲃𐲄𐲅𐲆𐲇𐲈𐲉𐲊𐲋𐲌𐲍𐲎' ||
        '𐲏𐲐𐲑𐲒𐲓𐲔𐲕𐲖𐲗𐲘𐲙𐲚𐲛𐲜𐲝𐲞𐲟𐲠𐲡𐲢𐲣𐲤𐲥𐲦𐲧𐲨𐲩𐲪𐲫𐲬𐲭𐲮𐲯𐲰𐲱𐲲𑢠𑢡𑢢𑢣𑢤𑢥𑢦𑢧𑢨𑢩𑢪𑢫𑢬𑢭𑢮𑢯𑢰𑢱𑢲𑢳𑢴𑢵𑢶𑢷' ||
        '𑢸𑢹𑢺𑢻𑢼𑢽𑢾𑢿𖹀𖹁𖹂𖹃𖹄𖹅𖹆𖹇𖹈𖹉𖹊𖹋𖹌𖹍𖹎𖹏𖹐𖹑𖹒𖹓𖹔𖹕𖹖𖹗𖹘𖹙𖹚𖹛𖹜𖹝𖹞𖹟𞤀𞤁𞤂𞤃𞤄𞤅𞤆𞤇𞤈𞤉𞤊𞤋𞤌𞤍𞤎𞤏𞤐𞤑𞤒𞤓' ||
        '𞤔𞤕𞤖𞤗𞤘𞤙𞤚𞤛𞤜𞤝𞤞𞤟𞤠𞤡', null)
    ) ->> letter, letter), '' order by at)
    from string_to_table(lower(name collate "C"), null) with ordinality as split (letter, at)
  );
end;
$function$;

CREATE OR REPLACE FUNCTION public.fold_tag(name text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
  select case when octet_length(name) = char_length(name) then lower(name collate "C") else fold_letters(name) end
$function$;

CREATE OR REPLACE FUNCTION public.ignore_row()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.isolate_by_owner(isolated regclass)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  name text := (select relname from pg_class where oid = isolated);
  -- The setting is '' and not null after a transaction that set it.
  owned text := $condition$user_id = (select nullif(current_setting('app.user_id', true), ''))$condition$;
begin
  execute format('alter table %s enable row level security', isolated);
  execute format('create policy %I on %s to docket_app using (%s) with check (%s)',
    name || '_owner', isolated, owned, owned);
end;
$function$;

CREATE OR REPLACE FUNCTION public.keep_completed_at()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  new.completed_at := case
    when not new.completed then null
    when tg_op = 'UPDATE' and old.completed then old.completed_at
    when tg_op = 'UPDATE' then clock_timestamp()
    when coalesce(current_setting('app.user_id', true), '') = '' then coalesce(new.completed_at, now())
    else now()
  end;
  return new;
end;
$function$;

CREATE OR REPLACE FUNCTION public.keep_due_order()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  new.due_order := new.due_date + coalesce(new.due_time, time '23:59:59');
  return new;
end;
$function$;

CREATE OR REPLACE FUNCTION public.keep_one_row()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
  there boolean;
begin
  execute format('select exists (select from %I.%I)', tg_table_schema, tg_table_name) into there;
  if there then
    return null;
  end if;
  return new;
end;
$function$;

CREATE OR REPLACE FUNCTION public.limit_tasks()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  if (
    select pending_low + pending_medium + pending_high + completed_low + completed_medium + completed_high
    from task_summary
    where user_id = current_setting('app.user_id')
  ) > current_setting('app.max_tasks')::bigint then
    raise exception 'too many tasks of one owner';
  end if;
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.lock_owner()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  if pg_trigger_depth() = 1 and current_setting('app.user_id', true) <> '' then
    perform pg_advisory_xact_lock(1685021547, hashtext(current_setting('app.user_id', true)) & 1023);
  end if;
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.lock_tasks()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  lock task in share row exclusive mode;
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.merge_summary()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  insert into task_summary as summary (user_id, rev, purged_rev)
  values (new.user_id, new.rev, new.purged_rev)
  on conflict (user_id) do update
  set rev = greatest(summary.rev, excluded.rev), purged_rev = greatest(summary.purged_rev, excluded.purged_rev);
  return null;
end;
$function$;

CREATE OR REPLACE FUNCTION public.next_revision(newest bigint)
 RETURNS bigint
 LANGUAGE sql
AS $function$
  select greatest((extract(epoch from clock_timestamp()) * 1000000)::bigint, newest + 1)
$function$;

CREATE OR REPLACE FUNCTION public.record_purge()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  update task_summary as summary
  set purged_rev = greatest(summary.purged_rev, purged.rev)
  from (select user_id, max(rev) as rev from old_rows group by user_id) as purged
  where summary.user_id = purged.user_id;
  return null;
end;
$function$;
revoke execute on function record_purge() from public;

CREATE OR REPLACE FUNCTION public.record_revision()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  insert into task_summary as summary (user_id, rev)
  select user_id, max(rev) from new_rows group by user_id
  on conflict (user_id) do update set rev = greatest(summary.rev, excluded.rev);
  return null;
end;
$function$;
revoke execute on function record_revision() from public;

CREATE OR REPLACE FUNCTION public.record_tags()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET jit TO 'off'
AS $function$
begin
  if tg_op = 'UPDATE' then
    if not exists (
      select
      from old_rows as previous
      full join new_rows as changed on changed.user_id = previous.user_id and changed.id = previous.id
      where changed.tags is distinct from previous.tags
    ) then
      return null;
    end if;
  end if;
  if tg_op = 'INSERT' then
    insert into task_tag (user_id, folded, task_id, name)
    select user_id, folded, id, name
    from new_rows, tag_links(tags);
  elsif tg_op = 'DELETE' then
    delete from task_tag as link
    using (
      select user_id, id, fold_tag(name) as folded
      from old_rows, unnest(tags) as name
    ) as gone
    where link.user_id = gone.user_id and link.folded = gone.folded and link.task_id = gone.id;
  else
    with change as materialized (
      select coalesce(changed.user_id, previous.user_id) as user_id, coalesce(changed.id, previous.id) as id, link.folded, link.name
      from old_rows as previous
      full join new_rows as changed on changed.user_id = previous.user_id and changed.id = previous.id
      cross join lateral changed_links(previous.tags, changed.tags) as link
      where changed.tags is distinct from previous.tags
    ), deleted as (
      delete from task_tag as link
      using change
      where link.user_id = change.user_id and link.folded = change.folded and link.task_id = change.id and change.name is null
    )
    insert into task_tag (user_id, folded, task_id, name)
    select user_id, folded, id, name
    from change
    where name is not null
    on conflict (user_id, folded, task_id) do update set name = excluded.name;
  end if;
  return null;
end;
$function$;
revoke execute on function record_tags() from public;

CREATE OR REPLACE FUNCTION public.record_tombstones()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  with added as (
    insert into tombstone (user_id, resource, id, rev)
    select user_id, tg_argv[0], id, first + row_number() over (partition by user_id order by rev, id) - 1
    from old_rows
    join (
      select user_id, next_revision(summary.rev) as first
      from (select distinct user_id from old_rows) as deleted
      left join task_summary as summary using (user_id)
    ) as owners using (user_id)
    on conflict (user_id, resource, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at
    returning user_id, rev
  )
  update task_summary as summary
  set rev = greatest(summary.rev, newest.rev)
  from (select user_id, max(rev) as rev from added group by user_id) as newest
  where summary.user_id = newest.user_id;
  return null;
end;
$function$;
revoke execute on function record_tombstones() from public;

CREATE OR REPLACE FUNCTION public.record_truncation()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  perform task_summary_rebuild();
  return null;
end;
$function$;
revoke execute on function record_truncation() from public;

CREATE OR REPLACE FUNCTION public.reference_user(referring regclass, constraint_name text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
  users regclass := coalesce(
    (select confrelid from pg_constraint where conrelid = 'task'::regclass and conname = 'fk_user'),
    to_regclass(coalesce(nullif(current_setting('docket.user_table', true), ''), '"user"'))
  );
begin
  execute format('alter table %s add constraint %I foreign key (user_id) references %s (id) on delete cascade',
    referring, constraint_name, users);
end;
$function$;

CREATE OR REPLACE FUNCTION public.rename_tag(tags text[], folded text, renamed text)
 RETURNS text[]
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
begin
  return unique_tags(array(
    select case when char_length(name) <> char_length(folded) then name when fold_tag(name) = folded then renamed else name end
    from unnest(tags) with ordinality as given (name, at)
    order by at
  ));
end;
$function$;

CREATE OR REPLACE FUNCTION public.set_revision()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  if tg_op = 'DELETE' then
    -- A cascade from "user" takes no lock. It has the user and all rows locked, so that no other change can get a
    -- revision, and waiting here for a statement that waits for the user would be a deadlock.
    if pg_trigger_depth() = 1 then
      perform pg_advisory_xact_lock(1685021547, hashtext(old.user_id) & 1023);
    end if;
    return old;
  end if;
  if tg_op = 'UPDATE' and (new.user_id <> old.user_id or new.id <> old.id) then
    perform pg_advisory_xact_lock(1685021547, hashtext(old.user_id) & 1023);
    update task_summary set rev = next_revision(rev) where user_id = old.user_id;
    insert into tombstone (user_id, resource, id, rev)
    select user_id, tg_argv[0], old.id, rev from task_summary where user_id = old.user_id
    on conflict (user_id, resource, id) do update set rev = excluded.rev, deleted_at = excluded.deleted_at;
  end if;
  perform pg_advisory_xact_lock(1685021547, hashtext(new.user_id) & 1023);
  -- Being a statement after the lock, it sees what the last holder of the lock committed.
  new.rev := next_revision((select rev from task_summary where user_id = new.user_id));
  return new;
end;
$function$;
revoke execute on function set_revision() from public;

CREATE OR REPLACE FUNCTION public.tag_links(tags text[])
 RETURNS TABLE(folded text, name text)
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE ROWS 20
AS $function$
  select distinct on (links.folded) links.folded, links.name
  from (
    select fold_tag(given.name) as folded, given.name, given.at
    from unnest(tags) with ordinality as given (name, at)
  ) as links
  order by links.folded, links.at
$function$;

CREATE OR REPLACE FUNCTION public.task_summary_add(owner character varying, newest bigint, done boolean, rank character varying, tasks bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  loop
    update task_summary
    set rev = greatest(rev, newest),
      pending_low = pending_low + case when not done and rank = 'low' then tasks else 0 end,
      pending_medium = pending_medium + case when not done and rank = 'medium' then tasks else 0 end,
      pending_high = pending_high + case when not done and rank = 'high' then tasks else 0 end,
      completed_low = completed_low + case when done and rank = 'low' then tasks else 0 end,
      completed_medium = completed_medium + case when done and rank = 'medium' then tasks else 0 end,
      completed_high = completed_high + case when done and rank = 'high' then tasks else 0 end
    where user_id = owner;
    exit when found;
    insert into task_summary (user_id, rev) values (owner, 0) on conflict do nothing;
  end loop;
end;
$function$;

CREATE OR REPLACE FUNCTION public.task_summary_rebuild()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  lock task in share row exclusive mode;
  insert into task_summary as summary (user_id, rev)
  select user_id, max(rev)
  from (select user_id, rev from task union all select user_id, rev from tombstone) as known
  group by user_id
  on conflict (user_id) do update set rev = greatest(summary.rev, excluded.rev);
  update task_summary
  set rev = next_revision(rev), purged_rev = rev + 1,
    pending_low = 0, pending_medium = 0, pending_high = 0, completed_low = 0, completed_medium = 0, completed_high = 0;
  perform task_summary_add(user_id, max(rev), completed, priority, count(*))
  from task
  group by user_id, completed, priority;
end;
$function$;

CREATE OR REPLACE FUNCTION public.task_tag_rebuild()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  lock task in share row exclusive mode;
  delete from task_tag;
  alter table task_tag disable trigger task_tag_restored;
  insert into task_tag (user_id, folded, task_id, name)
  select user_id, folded, id, name
  from task, tag_links(tags);
  alter table task_tag enable trigger task_tag_restored;
end;
$function$;

CREATE OR REPLACE FUNCTION public.truncate_tags()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
  delete from task_tag;
  return null;
end;
$function$;
revoke execute on function truncate_tags() from public;

CREATE OR REPLACE FUNCTION public.unique_tags(tags text[])
 RETURNS text[]
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
AS $function$
begin
  return (
    select coalesce(array_agg(name order by at), '{}')
    from (
      select distinct on (length, folded) name, at
      from (
        select name, at, length, case when count(*) over (partition by length) > 1 then fold_tag(name) end as folded
        from unnest(tags) with ordinality as given (name, at), char_length(name) as length
      ) as lengths
      order by length, folded, at
    ) as firsts
  );
end;
$function$;

CREATE OR REPLACE FUNCTION public.update_updated_at_column()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
  return new;
end;
$function$;

create table docket_epoch (
  epoch uuid default gen_random_uuid() not null
);
CREATE UNIQUE INDEX docket_epoch_one_row ON docket_epoch USING btree ((true));
CREATE TRIGGER docket_epoch_one_row BEFORE INSERT ON docket_epoch FOR EACH ROW EXECUTE FUNCTION keep_one_row();

create table docket_schema_version (
  version integer not null
);
CREATE TRIGGER docket_schema_version_one_row BEFORE INSERT ON docket_schema_version FOR EACH ROW EXECUTE FUNCTION keep_one_row();

create table idempotency_key (
  user_id character varying(255) not null,
  key character varying(255) not null,
  request_hash bytea not null,
  resource character varying(32) not null,
  response jsonb not null,
  created_at timestamp with time zone default now() not null,
  constraint idempotency_key_pkey PRIMARY KEY (user_id, key),
  constraint fk_idempotency_key_user FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE
);
CREATE INDEX idx_idempotency_key_created_at ON idempotency_key USING btree (user_id, created_at);
alter table idempotency_key enable row level security;
create policy idempotency_key_owner on idempotency_key as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

create table task (
  id character varying(255) not null,
  user_id character varying(255) not null,
  title character varying(200) not null,
  description text,
  priority character varying(10) default 'medium'::character varying not null,
  completed boolean default false not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  rev bigint not null,
  search_text text collate "und-x-icu" generated always as ((replace(replace(translate(lower(upper(
CASE
    WHEN octet_length(title::text) = char_length(title::text) THEN title::text
    ELSE NORMALIZE(title::text, NFKC)
END COLLATE "und-x-icu")), 'ς'::text, 'σ'::text), 'ß'::text, 'ss'::text), 'i'::text || chr(775), 'i'::text) || 'A'::text) || replace(replace(translate(lower(upper(
CASE
    WHEN octet_length(COALESCE(description, ''::text)) = char_length(COALESCE(description, ''::text)) THEN COALESCE(description, ''::text)
    ELSE NORMALIZE(COALESCE(description, ''::text), NFKC)
END COLLATE "und-x-icu")), 'ς'::text, 'σ'::text), 'ß'::text, 'ss'::text), 'i'::text || chr(775), 'i'::text)) stored,
  due_date date,
  due_time time without time zone,
  time_zone character varying(64),
  due_at timestamp with time zone,
  due_order timestamp without time zone,
  completed_at timestamp with time zone,
  recurrence_rule character varying(255),
  recurrence_mode character varying(20) default 'skip_missed'::character varying not null,
  series_id character varying(255),
  occurrence_date date,
  next_task_id character varying(255),
  tags text[] default '{}'::text[] not null,
  constraint task_pkey PRIMARY KEY (id),
  constraint fk_user FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE,
  constraint chk_completed_at CHECK (completed OR completed_at IS NULL),
  constraint chk_description_length CHECK (char_length(description) <= 1000),
  constraint chk_due_at CHECK ((due_at IS NULL) = (due_time IS NULL)),
  constraint chk_due_date CHECK (due_date >= '1970-01-01'::date AND due_date <= '9999-12-31'::date),
  constraint chk_due_time CHECK (due_time IS NULL OR due_date IS NOT NULL AND time_zone IS NOT NULL),
  constraint chk_priority CHECK (priority::text = ANY (ARRAY['low'::character varying, 'medium'::character varying, 'high'::character varying]::text[])),
  constraint chk_recurrence_mode CHECK (recurrence_mode::text = ANY (ARRAY['skip_missed'::character varying, 'keep_missed'::character varying, 'after_completion'::character varying]::text[])),
  constraint chk_recurrence_rule CHECK (recurrence_rule IS NULL OR due_date IS NOT NULL AND series_id IS NOT NULL AND occurrence_date IS NOT NULL),
  constraint chk_tags CHECK (cardinality(tags) <= 20),
  constraint chk_title_length CHECK (char_length(title::text) >= 1 AND char_length(title::text) <= 200)
);
CREATE INDEX idx_task_completed ON task USING btree (user_id, completed, created_at DESC, id DESC);
CREATE INDEX idx_task_created_at ON task USING btree (user_id, created_at DESC, id DESC);
CREATE INDEX idx_task_due_asc ON task USING btree (user_id, (
CASE
    WHEN due_order IS NULL THEN 'infinity'::timestamp without time zone
    ELSE due_order
END), id);
CREATE INDEX idx_task_due_desc ON task USING btree (user_id, (
CASE
    WHEN due_order IS NULL THEN '-infinity'::timestamp without time zone
    ELSE due_order
END) DESC, id DESC);
CREATE UNIQUE INDEX idx_task_occurrence ON task USING btree (user_id, series_id, occurrence_date) WHERE series_id IS NOT NULL;
CREATE INDEX idx_task_priority ON task USING btree (user_id, (
CASE priority
    WHEN 'high'::text THEN 3
    WHEN 'medium'::text THEN 2
    ELSE 1
END) DESC, id DESC);
CREATE INDEX idx_task_rev ON task USING btree (user_id, rev);
CREATE INDEX idx_task_title ON task USING btree (user_id, title, id);
CREATE INDEX idx_task_updated_at ON task USING btree (user_id, updated_at DESC, id DESC);
CREATE UNIQUE INDEX idx_task_user_id ON task USING btree (user_id, id);
CREATE INDEX idx_task_user_pending_priority ON task USING btree (user_id, (
CASE priority
    WHEN 'high'::text THEN 3
    WHEN 'medium'::text THEN 2
    ELSE 1
END) DESC, id DESC) WHERE completed = false;
CREATE TRIGGER task_completed_at BEFORE INSERT OR UPDATE ON task FOR EACH ROW WHEN (new.completed OR new.completed_at IS NOT NULL) EXECUTE FUNCTION keep_completed_at();
CREATE TRIGGER task_due_order BEFORE INSERT OR UPDATE OF due_date, due_time, due_order ON task FOR EACH ROW WHEN (new.due_date IS NOT NULL OR new.due_order IS NOT NULL) EXECUTE FUNCTION keep_due_order();
CREATE TRIGGER task_lock_owner BEFORE INSERT OR DELETE OR UPDATE ON task FOR EACH STATEMENT EXECUTE FUNCTION lock_owner();
CREATE TRIGGER task_revision BEFORE INSERT OR DELETE OR UPDATE ON task FOR EACH ROW EXECUTE FUNCTION set_revision('task');
CREATE TRIGGER task_series BEFORE INSERT ON task FOR EACH ROW WHEN (new.recurrence_rule IS NOT NULL) EXECUTE FUNCTION begin_series();
CREATE TRIGGER task_tags_delete AFTER DELETE ON task REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION record_tags();
CREATE TRIGGER task_tags_insert AFTER INSERT ON task REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION record_tags();
CREATE TRIGGER task_tags_truncated AFTER TRUNCATE ON task FOR EACH STATEMENT EXECUTE FUNCTION truncate_tags();
CREATE TRIGGER task_tags_update AFTER UPDATE ON task REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION record_tags();
CREATE TRIGGER task_tombstones AFTER DELETE ON task REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION record_tombstones('task');
CREATE TRIGGER task_totals_delete AFTER DELETE ON task REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
CREATE TRIGGER task_totals_insert AFTER INSERT ON task REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
CREATE TRIGGER task_totals_limit AFTER INSERT ON task FOR EACH STATEMENT WHEN (current_setting('app.max_tasks'::text, true) <> ''::text) EXECUTE FUNCTION limit_tasks();
CREATE TRIGGER task_totals_update AFTER UPDATE ON task REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_tasks();
CREATE TRIGGER task_truncated AFTER TRUNCATE ON task FOR EACH STATEMENT EXECUTE FUNCTION record_truncation();
CREATE TRIGGER task_updated_at BEFORE UPDATE ON task FOR EACH ROW EXECUTE FUNCTION update_updated_at_column();
alter table task enable row level security;
create policy task_owner on task as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

create table task_summary (
  user_id character varying(255) not null,
  rev bigint not null,
  purged_rev bigint default 0 not null,
  pending_low integer default 0 not null,
  pending_medium integer default 0 not null,
  pending_high integer default 0 not null,
  completed_low integer default 0 not null,
  completed_medium integer default 0 not null,
  completed_high integer default 0 not null,
  constraint task_summary_pkey PRIMARY KEY (user_id)
) with (fillfactor=50);
CREATE TRIGGER task_summary_lock_tasks BEFORE INSERT ON task_summary FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION lock_tasks();
CREATE TRIGGER task_summary_restored BEFORE INSERT ON task_summary FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION merge_summary();
alter table task_summary enable row level security;
create policy task_summary_owner on task_summary as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

create table task_tag (
  user_id character varying(255) not null,
  folded character varying(50) collate "C" not null,
  task_id character varying(255) not null,
  name character varying(50) collate "C" not null,
  constraint task_tag_pkey PRIMARY KEY (user_id, folded, task_id)
);
CREATE TRIGGER task_tag_restored BEFORE INSERT ON task_tag FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ignore_row();
alter table task_tag enable row level security;
create policy task_tag_owner on task_tag as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

create table tombstone (
  user_id character varying(255) not null,
  resource character varying(32) not null,
  id character varying(255) not null,
  rev bigint not null,
  deleted_at timestamp with time zone default now() not null,
  constraint tombstone_pkey PRIMARY KEY (user_id, resource, id)
);
CREATE INDEX idx_tombstone_deleted_at ON tombstone USING btree (user_id, deleted_at);
CREATE INDEX idx_tombstone_rev ON tombstone USING btree (user_id, rev);
CREATE TRIGGER tombstone_lock_owner BEFORE DELETE ON tombstone FOR EACH STATEMENT EXECUTE FUNCTION lock_owner();
CREATE TRIGGER tombstone_lock_tasks BEFORE INSERT ON tombstone FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION lock_tasks();
CREATE TRIGGER tombstone_purged AFTER DELETE ON tombstone REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION record_purge();
CREATE TRIGGER tombstone_restored AFTER INSERT ON tombstone REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION record_revision();
CREATE TRIGGER tombstone_truncated AFTER TRUNCATE ON tombstone FOR EACH STATEMENT EXECUTE FUNCTION record_truncation();
alter table tombstone enable row level security;
create policy tombstone_owner on tombstone as permissive for all to docket_app
  using (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")))
  with check (user_id::text = (( SELECT NULLIF(current_setting('app.user_id'::text, true), ''::text) AS "nullif")));

grant select on docket_epoch to docket_app;
grant select on docket_schema_version to docket_app;
grant delete, insert, select on idempotency_key to docket_app;
grant delete, insert, select, update on task to docket_app;
grant select on task_summary to docket_app;
grant select on task_tag to docket_app;
grant delete, select on tombstone to docket_app;
